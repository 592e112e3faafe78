/**
 * The port `ClusterAdmin` as the command line has it: each call is one request over the admin
 * socket, sent once. Rejects as `AdminClient` does.
 */

import { answerOf, nodeOf, wireChange } from './cluster-convert.ts';
import type {
  ClusterAdmin,
  ClusterAnswer,
  MemberChange,
  NodeStatus,
  RescueWish,
} from './cluster-port.ts';
import type { AdminCaller } from './messages.ts';
import { understood } from './status.ts';

export class ClusterClient implements ClusterAdmin {
  readonly #call: AdminCaller;

  constructor(call: AdminCaller) {
    this.#call = call;
  }

  async status(): Promise<NodeStatus> {
    return understood(await this.#call('Status', {}), nodeOf);
  }

  async change(shard: number, change: MemberChange): Promise<ClusterAnswer> {
    return understood(await this.#call('ChangeMembers', wireChange(shard, change)), answerOf);
  }

  async transfer(shard: number, to: string): Promise<ClusterAnswer> {
    return understood(await this.#call('TransferLead', { shard, to }), answerOf);
  }

  async rescue(shard: number, wish: RescueWish): Promise<ClusterAnswer> {
    return understood(await this.#call('Rescue', { shard, ...wish }), answerOf);
  }

  async addShard(shard: number): Promise<ClusterAnswer> {
    return understood(await this.#call('AddShard', { shard }), answerOf);
  }

  async host(shard: number, node: string, isHost: boolean): Promise<ClusterAnswer> {
    return understood(await this.#call('HostShard', { shard, node, isHost }), answerOf);
  }
}
