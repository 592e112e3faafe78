/**
 * What this node does for its shards by itself, looking at them again and again: as the leader of
 * shard 0 it makes the shards that are wanted and not there; as the leader of any it hands over to
 * the node that is to lead, and removes members whose node has no replica any more; as the one that
 * was rescued it has the map name the others no more; and where a replica of its own is no member
 * yet, it asks the leader to become one.
 *
 * Each is a wish that may be lost or refused, and is made again at a later look; nothing is waited
 * for, and nothing remembered but what is under way.
 */

import type { Status } from '#raft';
import { preferredLeader } from './leader-balance.ts';
import type { NodeShards, ShardHere } from './node-shards.ts';
import type { ShardSettings } from './options.ts';
import { leaderViewIn } from './shard/leader-view.ts';
import type { RaftLog } from './shard/raft-log.ts';
import { hostsGivenUp, nextLeaving, nextShard } from './shard-plan.ts';
import type { Logger } from './telemetry/logger.ts';

const LOOK_MS = 500;

export interface ShardKeeperParts {
  readonly settings: ShardSettings;
  readonly shards: NodeShards;
  /** Where the others reach this node. */
  readonly address: string;
  readonly logger: Logger;
}

export class ShardKeeper {
  readonly #parts: ShardKeeperParts;
  readonly #timer: NodeJS.Timeout;
  /** Shards about which something was asked that has no answer yet. */
  readonly #asking = new Set<number>();
  /** Shards whose hosts are in order after a rescue: who is named again, an operator has named. */
  readonly #inOrder = new Set<number>();

  constructor(parts: ShardKeeperParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const shard of this.#parts.shards.all) {
      const replica = shard.durable?.replica;
      const status = replica?.status();
      if (replica === undefined || status === undefined) continue;
      if (shard.number === 0) this.#makeShards(shard, status);
      this.#balance(shard, replica, status);
      this.#keepMembers(shard, replica, status);
      this.#keepHosts(shard, status);
    }
  }

  #keepHosts(shard: ShardHere, status: Status): void {
    const { row, number } = shard;
    if (row === undefined || this.#inOrder.has(number)) return;
    const givenUp = hostsGivenUp(row, status);
    if (givenUp?.length === 0) this.#inOrder.add(number);
    else if (givenUp !== undefined) this.#ask(shard, () => this.#unhost(number, givenUp));
  }

  /** In the map of shard 0, which may have to be rescued itself before. */
  async #unhost(number: number, nodes: readonly string[]): Promise<void> {
    const { shards, logger } = this.#parts;
    for (const node of nodes) {
      await shards.of(0)?.forwarding.asks.ask({ kind: 'unhost-shard', number, node });
      logger.info({ shard: number, node }, 'a host that was given up is named no more');
    }
  }

  #makeShards(zero: ShardHere, status: Status): void {
    const { settings, shards, logger } = this.#parts;
    const { members } = status.configuration.configuration;
    if (status.role !== 'leader' || status.commitIndex > status.applied) return;
    const next = nextShard(settings.shards, shards.map, members);
    if (next === undefined) return;
    this.#ask(zero, async () => {
      const { number, founders } = next;
      await zero.durable?.shard?.addShard(number, founders);
      logger.info({ shard: number, founders }, 'a shard was made');
    });
  }

  #balance({ number, row, balance }: ShardHere, replica: RaftLog, status: Status): void {
    const { settings, shards, logger } = this.#parts;
    // With one shard there is nothing to spread.
    const first = shards.map.length === 0 ? undefined : settings.peers?.nodes[0]?.id;
    const preferred = row === undefined ? first : preferredLeader(row);
    const to = balance.target(status, preferred, performance.now());
    if (to === undefined || replica.transferLeadership(to).kind !== 'started') return;
    logger.info({ shard: number, to }, 'the lead goes to the node that is to have it');
  }

  #keepMembers(shard: ShardHere, replica: RaftLog, status: Status): void {
    const { shards, settings, logger } = this.#parts;
    const { row, number } = shard;
    if (row === undefined || settings.peers === undefined) return;
    const leaving = nextLeaving(row, status);
    if (leaving !== undefined && replica.changeMembership(leaving).kind === 'accepted') {
      logger.info({ shard: number, member: leaving.id }, 'a member was removed');
    }
    const { members } = status.configuration.configuration;
    const isMember = members.some(({ id }) => id === status.id);
    if (status.leader !== undefined && isMember) return;
    if (shards.isHost(row)) this.#ask(shard, () => this.#join(shard, { status, isMember }));
  }

  /** By the leader's own word: the log here may be old, or begin before this node was added. */
  async #join(
    { number, forwarding, durable }: ShardHere,
    { status, isMember }: { readonly status: Status; readonly isMember: boolean },
  ): Promise<void> {
    const { address, logger } = this.#parts;
    const { id, accepted } = status;
    const view = leaderViewIn(await forwarding.asks.ask({ kind: 'leader-view' }));
    if (view === undefined || view.members.some((member) => member.id === id)) return;
    // It founded the shard, with a directory that is lost.
    if (isMember && accepted === 0) {
      durable?.renew();
      return;
    }
    const wish = { what: 'add', id, address, votes: true } as const;
    await forwarding.asks.ask({ kind: 'change-members', ...wish });
    logger.info({ shard: number, id }, 'the replica asks to be a member');
  }

  /** One thing at a time for each shard; what is not done is wished again. */
  #ask({ number }: ShardHere, action: () => Promise<unknown>): void {
    if (this.#asking.has(number)) return;
    this.#asking.add(number);
    action()
      .catch(({ message }: Error) => {
        this.#parts.logger.debug({ shard: number, error: message }, 'a wish was not heard');
      })
      .finally(() => this.#asking.delete(number));
  }
}
