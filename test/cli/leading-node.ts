/**
 * A scripted node of a cluster, `n1`, which leads shard 0 with three voters, and what becomes of it
 * as somebody asks for changes: for the tests of `fluxmq cluster`.
 */

import type { MemberStatus, ReplicaStatus } from '../../src/admin/cluster-port.ts';
import { type FakeClusterAdmin, replica } from '../support/fake-cluster-admin.ts';

export function member(id: string, more: Partial<MemberStatus> = {}): MemberStatus {
  return { id, role: 'voter', address: `${id}.example:7000`, progress: follows(90), ...more };
}

export function follows(match: number, active = true): NonNullable<MemberStatus['progress']> {
  return { state: 'replicate', match, active, caughtUp: active, inReserve: false };
}

export function led(more: Partial<ReplicaStatus> = {}): ReplicaStatus {
  const members = [member('n1', { progress: undefined }), member('n2'), member('n3')];
  const all = { leaderLast: 90, applied: 90 };
  return replica({ role: 'leader', leader: 'n1', ...all, members, ...more });
}

export class LeadingNode {
  readonly #cluster: FakeClusterAdmin;

  constructor(cluster: FakeClusterAdmin) {
    this.#cluster = cluster;
  }

  /** Nothing was asked, and nothing becomes of what is. */
  begin(): void {
    const cluster = this.#cluster;
    cluster.asked.length = 0;
    cluster.answers.length = 0;
    cluster.looked = () => undefined;
    cluster.changed = () => undefined;
    cluster.transferred = () => undefined;
    cluster.mapped = () => undefined;
    cluster.node = { ...cluster.node, elsewhere: [], shards: [] };
    this.setReplica(led());
  }

  setReplica(one: ReplicaStatus): void {
    this.#cluster.node = { ...this.#cluster.node, replicas: [one] };
  }

  setMembers(members: readonly MemberStatus[]): void {
    this.setReplica({ ...(this.#cluster.node.replicas[0] ?? led()), members });
  }

  get members(): readonly MemberStatus[] {
    return this.#cluster.node.replicas[0]?.members ?? [];
  }

  /** It goes on: what is asked for is there at the next look. */
  plays(): void {
    this.#cluster.changed = (change) => {
      const rest = this.members.filter(({ id }) => id !== change.id);
      if (change.kind === 'remove') this.setMembers(rest);
      if (change.kind === 'add') {
        const role = change.votes ? 'joining' : 'learner';
        this.setMembers([...rest, member(change.id, { role })]);
      }
      if (change.kind === 'promote') this.setMembers([...rest, member(change.id)]);
    };
  }

  /** A joining member becomes a voter after the first look at it. */
  promotesItself(): void {
    this.plays();
    this.#cluster.looked = () => {
      const voters = this.members.map((each) => (each.role === 'joining' ? member(each.id) : each));
      this.setMembers(voters);
    };
  }

  /** A shard 1 on these nodes, whose replicas follow the map at once; the first of them leads. */
  hasShard(hosts: readonly string[]): void {
    const cluster = this.#cluster;
    const set = (now: readonly string[]): void => {
      const members = now.map((id) => member(id, id === now[0] ? { progress: undefined } : {}));
      const lead = replica({ shard: 1, id: now[0] ?? '', role: 'leader', leaderLast: 90, members });
      const place = { shard: 1, founders: hosts, hosts: now };
      cluster.node = {
        ...cluster.node,
        shards: [place],
        elsewhere: [{ ...lead, leader: now[0] }],
      };
    };
    set(hosts);
    cluster.mapped = (_shard, node = '', isHost) => {
      const now = cluster.node.shards[0]?.hosts ?? [];
      const others = now.filter((each) => each !== node);
      set(isHost ? [...others, node] : others);
    };
  }
}
