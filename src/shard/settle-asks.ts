/**
 * Settlements by name: `$ack`, `$nack`, `$reject`, `$commit` and the extension of a visibility
 * timeout, of whoever has the message id. Each is answered once, and with `done` only when what was
 * proposed is applied: the answer waits for the effect that tells it.
 *
 * Bounded: above `ASKS_MAX` that are not answered a new one is `unavailable`.
 */

import type { SettleAnswer } from '../broker/ports.ts';
import { MAX_RANGE } from '../machine/command.ts';
import type { DispatchPolicy } from '../machine/dispatch-policy.ts';
import type { Offset } from '../machine/ids.ts';
import type { AskedCommit, AskedSettle, DeliveryGroup } from './delivery-group.ts';
import type { DispatcherOptions, SettleAsk } from './dispatch-options.ts';
import { BY_CLIENT, type GroupDeliveries } from './group-deliveries.ts';

const ASKS_MAX = 65_536;

/** All of [from, to) is settled, and everything below the floor. */
export interface SettledStretch {
  readonly from: Offset;
  readonly to: Offset;
  readonly floor: Offset;
}

export class SettleAsks {
  readonly #options: DispatcherOptions;
  readonly #deliveries: GroupDeliveries;
  #open = 0;

  constructor(options: DispatcherOptions, deliveries: GroupDeliveries) {
    this.#options = options;
    this.#deliveries = deliveries;
  }

  /** Waiting for their answers. */
  get open(): number {
    return this.#open;
  }

  /** There is no group to ask, or too much is asked. */
  refuse(tag: number, answer: SettleAnswer): void {
    this.#options.output.settled(tag, answer);
    this.#options.wake();
  }

  take(group: DeliveryGroup, ask: SettleAsk): void {
    if (this.#open >= ASKS_MAX) {
      this.refuse(ask.tag, 'unavailable');
      return;
    }
    this.#open++;
    if (group.phase === 'held') {
      this.#answer(ask.tag, 'unavailable');
      return;
    }
    const { policy } = group;
    if (group.phase === 'serving' && policy !== undefined) this.#judge(group, policy, ask);
    else group.asks.push(ask);
  }

  /** The group serves: what was asked meanwhile is judged. */
  serving(group: DeliveryGroup, policy: DispatchPolicy): void {
    const { asks } = group;
    if (asks.length === 0) return;
    group.asks = [];
    for (const ask of asks) this.#judge(group, policy, ask);
  }

  /** Nobody knows what the group has settled: a later try is answered when it is known. */
  held(group: DeliveryGroup): void {
    const { asks } = group;
    group.asks = [];
    for (const { tag } of asks) this.#answer(tag, 'unavailable');
  }

  /** The group is not there, or no more. */
  end(group: DeliveryGroup, answer: SettleAnswer): void {
    const { asks, commits } = group;
    group.asks = [];
    group.commits = [];
    for (const { tag } of asks) this.#answer(tag, answer);
    for (const { tag } of commits) this.#answer(tag, answer);
    for (const asked of group.asked.values()) {
      for (const { tag } of asked) this.#answer(tag, answer);
    }
    group.asked.clear();
  }

  settled(group: DeliveryGroup, offset: Offset): void {
    if (group.asked.size > 0) this.#applied(group, offset);
  }

  ranged(group: DeliveryGroup, { from, to, floor }: SettledStretch): void {
    for (const offset of group.asked.keys()) {
      if (offset >= from && offset < to) this.#applied(group, offset);
    }
    if (group.commits.length > 0) this.#committed(group, floor);
  }

  requeued(group: DeliveryGroup, offset: Offset): void {
    const asked = group.asked.get(offset);
    if (asked === undefined) return;
    // A complete may be on its way behind the requeue.
    const rest = asked.filter(({ outcome }) => outcome !== 'requeue');
    if (rest.length > 0) group.asked.set(offset, rest);
    else group.asked.delete(offset);
    for (const { tag, outcome } of asked) if (outcome === 'requeue') this.#answer(tag, 'done');
  }

  /** The group stands elsewhere: a commit that is not reached is what nobody asks for any more. */
  sought(group: DeliveryGroup, floor: Offset): void {
    this.ranged(group, { from: 0 as Offset, to: floor, floor });
    const { commits } = group;
    group.commits = [];
    for (const { tag } of commits) this.#answer(tag, 'stale');
  }

  #judge(group: DeliveryGroup, policy: DispatchPolicy, ask: SettleAsk): void {
    const { outcome, tag, offset } = ask;
    if (outcome === 'commit') {
      this.#commit(group, policy, ask);
      return;
    }
    if (outcome === 'extend') {
      const isDone = policy.extend(ask, this.#options.now());
      this.#answer(tag, isDone ? 'done' : 'stale');
      return;
    }
    const verdict = policy.settle(offset, ask.term, ask.deliveryNumber, outcome);
    if (verdict === 'propose') {
      const isProposed = this.#deliveries.propose(group, offset, BY_CLIENT[outcome]);
      if (isProposed) this.#await(group, ask, { tag, outcome, answer: 'done' });
      else this.#answer(tag, 'unavailable');
      this.#deliveries.tellEnded(policy);
    } else if (verdict === 'stale') this.#answer(tag, 'stale');
    // In a stream: there is nothing to do.
    else if (outcome === 'requeue') this.#answer(tag, 'done');
    else if (policy.isEnding(offset)) this.#await(group, ask, { tag, outcome, answer: 'already' });
    else this.#answer(tag, 'already');
  }

  #await(group: DeliveryGroup, { offset }: SettleAsk, asked: AskedSettle): void {
    const others = group.asked.get(offset);
    if (others === undefined) group.asked.set(offset, [asked]);
    else others.push(asked);
  }

  /** Everything up to and with the offset is settled, in slices; the floor tells when it is. */
  #commit(group: DeliveryGroup, policy: DispatchPolicy, { tag, offset }: SettleAsk): void {
    const isStream = this.#options.definition(group.queueId)?.type === 'stream';
    if (!isStream || offset >= policy.nextOffset) {
      this.#answer(tag, 'stale');
      return;
    }
    if (offset < policy.floor) {
      this.#answer(tag, 'already');
      return;
    }
    const commit = { tag, offset, through: policy.floor };
    if (this.#proposeSlice(group, commit)) group.commits.push(commit);
  }

  /** The next slice of a commit; false: it cannot be proposed, and that was answered. */
  #proposeSlice(group: DeliveryGroup, commit: AskedCommit): boolean {
    const { queueId, groupId } = group;
    const from = commit.through;
    const to = Math.min(from + MAX_RANGE, commit.offset + 1) as Offset;
    const range = { queueId, groupId, from, to, cause: 'committed' } as const;
    commit.through = to;
    if (this.#options.proposals.plain({ kind: 'settle-range', ...range }, '')) return true;
    this.#answer(commit.tag, 'unavailable');
    return false;
  }

  #applied(group: DeliveryGroup, offset: Offset): void {
    const asked = group.asked.get(offset);
    if (asked === undefined) return;
    group.asked.delete(offset);
    for (const { tag, answer } of asked) this.#answer(tag, answer);
  }

  /** What the floor has passed is done, and where a slice ends the next one begins. */
  #committed(group: DeliveryGroup, floor: Offset): void {
    const { commits } = group;
    if (commits.every(({ through }) => through > floor)) return;
    group.commits = commits.filter((commit) => {
      const { tag, offset, through } = commit;
      if (offset < floor) this.#answer(tag, 'done');
      else if (through <= floor) return this.#proposeSlice(group, commit);
      return offset >= floor;
    });
  }

  #answer(tag: number, answer: SettleAnswer): void {
    this.#open--;
    this.refuse(tag, answer);
  }
}
