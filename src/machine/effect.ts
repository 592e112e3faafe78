/**
 * What `apply` says to the outside, as data: columns of numbers that are filled and cleared again
 * and again, so that a message costs no allocation.
 *
 * One `Effects` collects the effects of a whole entry, in the order in which they came to be; that
 * order matters (a message may be requeued and then completed in one entry) and readers keep it.
 * The caller sets `ordinal`, the place of the command in its entry, before each `apply`. Kind by
 * kind, what may be read:
 *
 *   confirmed   node boot number outcome              a numbered command has its outcome
 *   enqueued    queueId offset bytes priority         one for each target, before its `confirmed`
 *   settled     queueId groupId offset floor discarded
 *   ranged      queueId groupId from to floor         all of [from, to) is settled
 *   requeued    queueId groupId offset attempts notBefore
 *   rare        rare                                  definitions, streams, versions: an object
 */

import type { GroupKind, NumberedCommand, RouteEnd, SkipReason } from './command.ts';
import type { QueueDefinition } from './definitions.ts';
import type { GroupId, Offset, QueueId, StampMs } from './ids.ts';
import type { QueuePlace } from './names.ts';
import type { SessionEffect } from './session-effect.ts';
import type { ShardMap } from './shard-map.ts';

export const EffectKind = {
  confirmed: 0,
  enqueued: 1,
  settled: 2,
  requeued: 3,
  rare: 4,
  ranged: 5,
} as const;
export type EffectKind = (typeof EffectKind)[keyof typeof EffectKind];

/**
 * The outcome of a numbered command; stored by its place in this list, so the list only grows at
 * its end. Those from `answered` on say that the number was not consumed by this command.
 */
export const OUTCOMES = [
  'accepted',
  /** None of the targets exists (any more). */
  'no-queue',
  'disk-full',
  'queue-full',
  'too-large',
  'unavailable',
  /** A numbered producer has sent this sequence already: nothing is stored, and all is well. */
  'duplicate',
  /** A sequence below the producer's window, or more producers than `maxProducers`. */
  'producer-refused',
  /** A later owner of the session has published: this one must not any more. */
  'stale-owner',
  /** A retry of what the sender has declared answered: it must not care any more. */
  'answered',
  /** A number before it is missing. */
  'gap',
  /** More than `STREAM_WINDOW` numbers would be unanswered. */
  'window',
  /** The sender has opened a newer stream. */
  'stale-boot',
  /** The stream was never opened. */
  'unknown-boot',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export type QueueRefusal =
  /** The name belongs to a queue of another type. */
  | 'type-differs'
  /** A name, topic or limit is outside its range. */
  | 'invalid'
  /** No such queue. */
  | 'no-queue'
  /** By what shard 0 has said of its name, it is not to be made here. */
  | 'elsewhere';

export type PlacementRefusal =
  /** No queue can have such a name; or this is not shard 0. */
  | 'invalid'
  /** None of the shards is in the map. */
  | 'no-shard'
  /** `NAMES_MAX` names are in other shards. */
  | 'too-many';

export type RareEffect =
  | {
      readonly kind: 'queue-declared';
      readonly queueId: QueueId;
      readonly definition: QueueDefinition;
      /** False: the same declaration was in force already. */
      readonly created: boolean;
    }
  | {
      readonly kind: 'queue-updated';
      readonly queueId: QueueId;
      readonly definition: QueueDefinition;
      readonly previous: QueueDefinition;
    }
  | { readonly kind: 'queue-deleted'; readonly queueId: QueueId; readonly name: string }
  | { readonly kind: 'queue-refused'; readonly reason: QueueRefusal; readonly detail: string }
  | ({ readonly kind: 'queue-placed'; readonly name: string } & QueuePlace)
  | {
      readonly kind: 'placement-refused';
      readonly reason: PlacementRefusal;
      readonly detail: string;
    }
  /** `removed` false: it was not there, or was placed again since. */
  | { readonly kind: 'queue-unplaced'; readonly name: string; readonly removed: boolean }
  | { readonly kind: 'names-fenced'; readonly version: number }
  /** `changed` false: it was so already. */
  | { readonly kind: 'shard-map-set'; readonly map: ShardMap; readonly changed: boolean }
  | { readonly kind: 'shard-map-refused'; readonly detail: string }
  | {
      readonly kind: 'group-created';
      readonly queueId: QueueId;
      readonly group: GroupView;
      /** False: it was there already. */
      readonly created: boolean;
    }
  | {
      readonly kind: 'group-refused';
      readonly queueId: QueueId;
      readonly name: string;
      readonly reason: GroupRefusal;
      readonly detail: string;
    }
  | {
      readonly kind: 'group-deleted';
      readonly queueId: QueueId;
      readonly groupId: GroupId;
      readonly name: string;
      readonly why: 'asked' | 'expired';
    }
  /** Its deliveries start anew from its floor. */
  | {
      readonly kind: 'group-sought';
      readonly queueId: QueueId;
      readonly groupId: GroupId;
      readonly floor: Offset;
    }
  /** It was held because its settlements were lost; nothing of them is unknown any more. */
  | { readonly kind: 'group-released'; readonly queueId: QueueId; readonly groupId: GroupId }
  /** Its timer fired and it counts as busy: the leader says whether it is idle. */
  | { readonly kind: 'group-check'; readonly queueId: QueueId; readonly groupId: GroupId }
  /** Nothing below is wanted any more. */
  | { readonly kind: 'start-raised'; readonly queueId: QueueId; readonly start: Offset }
  /**
   * `count` messages were dropped, the first of them `from`, because the queue is full or they have
   * expired. One effect may stand for what several commands of the entry dropped.
   */
  | {
      readonly kind: 'dropped';
      readonly queueId: QueueId;
      readonly from: Offset;
      readonly count: number;
      readonly why: 'drop-head' | 'expired';
    }
  | { readonly kind: 'intent-opened'; readonly intent: Intent }
  | {
      readonly kind: 'intent-closed';
      readonly intent: number;
      readonly how: 'transferred' | SkipReason;
    }
  /** A target of the transfer is full: it stays open. */
  | { readonly kind: 'transfer-refused'; readonly intent: number; readonly queueId: QueueId }
  /** It goes to another shard, as its route says. */
  | { readonly kind: 'intent-routed'; readonly intent: Intent }
  /** Too many are on their way to that shard: it stays open. */
  | { readonly kind: 'route-refused'; readonly intent: number }
  /** The other shard did not take it: it stays open. */
  | {
      readonly kind: 'route-ended';
      readonly intent: number;
      readonly how: Exclude<RouteEnd, 'taken'>;
    }
  /** What became of a message of another shard, now or when it came the first time. */
  | {
      readonly kind: 'arrived';
      readonly from: number;
      readonly number: number;
      readonly opened: StampMs;
      readonly how: RouteEnd;
      /** Above every number of that shard that is known here. */
      readonly next: number;
    }
  | SessionEffect
  | { readonly kind: 'stream-opened'; readonly node: string; readonly boot: number }
  | { readonly kind: 'version-set'; readonly version: number }
  | { readonly kind: 'version-refused'; readonly version: number; readonly inForce: number };

export type GroupRefusal =
  | 'no-queue'
  | 'no-group'
  /** A name or filter is outside its range. */
  | 'invalid'
  /** A group of that name has another filter. */
  | 'filter-differs'
  /** `maxGroups` are there. */
  | 'too-many'
  /** A classic queue has no way back: what was settled is gone. */
  | 'not-back';

export interface GroupView {
  readonly groupId: GroupId;
  readonly name: string;
  readonly kind: GroupKind;
  readonly filter: string;
  /** Lowest unsettled offset. */
  readonly floor: Offset;
  /** Unsettled messages. */
  readonly depth: number;
}

export const INTENT_REASONS = ['rejected', 'delivery-limit', 'moved', 'delayed'] as const;
export type IntentReason = (typeof INTENT_REASONS)[number];

/** A message on its way to another queue: committed, and its payload wanted until it is closed. */
export interface Intent {
  /** From 1, never used again. */
  readonly number: number;
  readonly reason: IntentReason;
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly offset: Offset;
  /** Attempts that ended before it left its queue. */
  readonly attempts: number;
  /** When it was opened. */
  readonly stamp: StampMs;
  /**
   * Where to: a queue by its name (a dead-letter queue may not exist yet), by id, or each dead
   * letter back to its source.
   */
  readonly target:
    | { readonly kind: 'name'; readonly name: string }
    | { readonly kind: 'queues'; readonly queueIds: readonly QueueId[] }
    | { readonly kind: 'source' };
  /** Transfers that were refused so far. */
  readonly refusals: number;
  /** It is on its way to this queue of another shard, with this number towards that shard. */
  readonly route: { readonly queueId: QueueId; readonly number: number } | undefined;
}

export interface Dropped {
  readonly from: number;
  readonly count: number;
  readonly why: 'drop-head' | 'expired';
}

const FIRST_CAPACITY = 1024;

export class Effects {
  /** The place of the command in its entry; set by the caller before each `apply`. */
  ordinal = 0;
  #length = 0;
  #capacity = FIRST_CAPACITY;
  #kind = new Uint8Array(FIRST_CAPACITY);
  #ordinal = new Uint32Array(FIRST_CAPACITY);
  #a = new Float64Array(FIRST_CAPACITY);
  #b = new Float64Array(FIRST_CAPACITY);
  #c = new Float64Array(FIRST_CAPACITY);
  #d = new Float64Array(FIRST_CAPACITY);
  #e = new Float64Array(FIRST_CAPACITY);
  readonly #nodes: string[] = [];
  readonly #rare: RareEffect[] = [];
  /** The last one of these. */
  #dropped: { readonly queueId: QueueId; readonly why: Dropped['why']; count: number } | undefined;

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
    this.#nodes.length = 0;
    this.#rare.length = 0;
    this.#dropped = undefined;
  }

  kind(at: number): EffectKind {
    return this.#kind[this.#checked(at)] as EffectKind;
  }

  ordinalOf(at: number): number {
    return this.#ordinal[this.#checked(at)] as number;
  }

  queueId(at: number): QueueId {
    return this.#a[at] as QueueId;
  }

  offset(at: number): Offset {
    return this.#b[at] as Offset;
  }

  groupId(at: number): GroupId {
    return this.#e[at] as GroupId;
  }

  bytes(at: number): number {
    return this.#c[at] as number;
  }

  /** 0 to 9. */
  priority(at: number): number {
    return this.#d[at] as number;
  }

  /** The end of a `ranged` effect, which begins at `offset`. */
  rangeEnd(at: number): Offset {
    return this.#d[at] as Offset;
  }

  /** The lowest unsettled offset of the group after this settlement. */
  floor(at: number): Offset {
    return this.#c[at] as Offset;
  }

  discarded(at: number): boolean {
    return this.#d[at] === 1;
  }

  /** Attempts that ended without a settlement, this one included. */
  attempts(at: number): number {
    return this.#c[at] as number;
  }

  /** Not to be delivered again before this; 0: at once. */
  notBefore(at: number): StampMs {
    return this.#d[at] as StampMs;
  }

  node(at: number): string {
    return this.#nodes[this.#a[at] as number] as string;
  }

  boot(at: number): number {
    return this.#b[at] as number;
  }

  number(at: number): number {
    return this.#c[at] as number;
  }

  outcome(at: number): Outcome {
    return OUTCOMES[this.#d[at] as number] as Outcome;
  }

  /** True for `accepted`: saves the look-up of the outcome's name on the hot path. */
  accepted(at: number): boolean {
    return this.#d[at] === 0;
  }

  rare(at: number): RareEffect {
    return this.#rare[this.#a[at] as number] as RareEffect;
  }

  /** `outcome` is the place in `OUTCOMES`. */
  addConfirmed(command: NumberedCommand, outcome: number): void {
    const { node } = command;
    const nodes = this.#nodes;
    if (nodes.length === 0 || nodes[nodes.length - 1] !== node) nodes.push(node);
    const at = this.#next(EffectKind.confirmed);
    this.#a[at] = nodes.length - 1;
    this.#b[at] = command.boot;
    this.#c[at] = command.number;
    this.#d[at] = outcome;
  }

  addEnqueued(queueId: number, offset: number, bytes: number): void {
    const at = this.#next(EffectKind.enqueued);
    this.#a[at] = queueId;
    this.#b[at] = offset;
    this.#c[at] = bytes;
    this.#d[at] = 0;
  }

  /** Of the `enqueued` effect that was added last. */
  setPriority(priority: number): void {
    this.#d[this.#length - 1] = priority;
  }

  /** `floor` of the group afterwards. */
  addRanged(queueId: number, groupId: number, range: { from: number; to: number }): number {
    const at = this.#next(EffectKind.ranged);
    this.#a[at] = queueId;
    this.#b[at] = range.from;
    this.#d[at] = range.to;
    this.#e[at] = groupId;
    return at;
  }

  /** Completes the effect that `addRanged` began. */
  finishRanged(at: number, floor: number): void {
    this.#c[at] = floor;
  }

  addSettled(queueId: number, groupId: number, offset: number): number {
    const at = this.#next(EffectKind.settled);
    this.#a[at] = queueId;
    this.#b[at] = offset;
    this.#e[at] = groupId;
    return at;
  }

  /** Completes the effect that `addSettled` began. */
  finishSettled(at: number, floor: number, discarded: boolean): void {
    this.#c[at] = floor;
    this.#d[at] = discarded ? 1 : 0;
  }

  addRequeued(queueId: number, groupId: number, offset: number): number {
    const at = this.#next(EffectKind.requeued);
    this.#a[at] = queueId;
    this.#b[at] = offset;
    this.#e[at] = groupId;
    return at;
  }

  /** Completes the effect that `addRequeued` began. */
  finishRequeued(at: number, attempts: number, notBefore: number): void {
    this.#c[at] = attempts;
    this.#d[at] = notBefore;
  }

  /** Joins what was dropped last, if it was of the same queue: the effect is there for counts. */
  addDropped(queueId: QueueId, dropped: Dropped): void {
    const last = this.#dropped;
    if (last !== undefined && last.queueId === queueId && last.why === dropped.why) {
      last.count += dropped.count;
      return;
    }
    const { from, count, why } = dropped;
    const effect = { kind: 'dropped' as const, queueId, from: from as Offset, count, why };
    this.addRare(effect);
    this.#dropped = effect;
  }

  addRare(effect: RareEffect): void {
    this.#rare.push(effect);
    this.#a[this.#next(EffectKind.rare)] = this.#rare.length - 1;
  }

  #checked(at: number): number {
    if (at >= this.#length) throw new RangeError('no such effect');
    return at;
  }

  #next(kind: EffectKind): number {
    const at = this.#length;
    if (at === this.#capacity) this.#grow();
    this.#length = at + 1;
    this.#kind[at] = kind;
    this.#ordinal[at] = this.ordinal;
    return at;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    this.#kind = grown(this.#kind, new Uint8Array(capacity));
    this.#ordinal = grown(this.#ordinal, new Uint32Array(capacity));
    this.#a = grown(this.#a, new Float64Array(capacity));
    this.#b = grown(this.#b, new Float64Array(capacity));
    this.#c = grown(this.#c, new Float64Array(capacity));
    this.#d = grown(this.#d, new Float64Array(capacity));
    this.#e = grown(this.#e, new Float64Array(capacity));
    this.#capacity = capacity;
  }
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
