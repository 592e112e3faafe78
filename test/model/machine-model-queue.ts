/**
 * A queue and its groups as one would write them without caring for memory or speed: what a group
 * has settled is a floor and a set, and everything is looked through offset by offset.
 */

import type { EnqueueOptions, GroupKind, Position } from '../../src/machine/command.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { GroupView } from '../../src/machine/effect.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

/** As the machine has them; a test of their own holds each. */
const DROP_STEP = 256;
const MAX_SLACK = 256;
const MAX_RANGE = 65_536;
/** Of every message: so bounds of bytes are bounds of messages, and marks are exact. */
export const BYTES = 10;

export interface ModelMessage {
  readonly stamp: number;
  /** When it expires; Infinity: never. */
  readonly due: number;
  readonly priority: number;
}

/** What is known of a publish when it comes to a queue. */
export interface ModelPublish {
  readonly topic: string;
  readonly bytes: number;
  readonly stamp: number;
  readonly options: EnqueueOptions | undefined;
  /** The effects of the machine: where marks decide, it says how far it went. */
  readonly observed: readonly SeenEffect[];
}

export class ModelGroup {
  readonly id: GroupId;
  readonly name: string;
  readonly kind: GroupKind;
  readonly filter: string;
  filterFrom: number;
  floor: number;
  /** 0: it has a member. */
  idleSince = 0;
  /** When its timer fires next; of an automatic group. */
  timerDue = Infinity;
  /** What had expired by then may be unsettled: its timer was earlier. */
  resetAt = 0;
  /** Settled offsets above the floor. */
  settled = new Set<number>();
  readonly requeued = new Map<number, { attempts: number; notBefore: number }>();

  constructor(id: GroupId, of: { name: string; kind: GroupKind; filter: string }, floor: number) {
    this.id = id;
    this.name = of.name;
    this.kind = of.kind;
    this.filter = of.filter;
    this.floor = floor;
    this.filterFrom = 0;
  }

  has(offset: number): boolean {
    return offset < this.floor || this.settled.has(offset);
  }

  /** False if it was settled. */
  settle(offset: number): boolean {
    if (this.has(offset)) return false;
    this.settled.add(offset);
    this.requeued.delete(offset);
    while (this.settled.delete(this.floor)) this.floor += 1;
    return true;
  }

  /** How many were not settled. */
  settleRange(from: number, to: number): number {
    let count = 0;
    for (let offset = Math.max(from, this.floor); offset < to; offset += 1) {
      if (this.settle(offset)) count += 1;
    }
    return count;
  }

  depth(next: number): number {
    return next - this.floor - this.settled.size;
  }

  /** The offset behind the first `count` unsettled ones. */
  behind(count: number): number {
    let at = this.floor;
    for (let left = count; left > 0; at += 1) if (!this.has(at)) left -= 1;
    return at;
  }
}

export class ModelQueue {
  readonly id: QueueId;
  definition: QueueDefinition;
  start = 0;
  readonly messages: ModelMessage[] = [];
  /** Messages from here on have marks since they came. */
  markedFrom = 0;
  /** Messages from here on have a mark each. */
  exactFrom = 0;
  /** When the queue was last told to keep less. */
  retainedSince = 0;
  nextGroup = 1;
  groups: ModelGroup[] = [];

  constructor(id: QueueId, definition: QueueDefinition) {
    this.id = id;
    this.definition = definition;
    if (definition.limits.defaultGroup === 'client') return;
    const first = { name: 'default', kind: 'explicit', filter: '' } as const;
    this.groups.push(new ModelGroup(0 as GroupId, first, 0));
  }

  get next(): number {
    return this.messages.length;
  }

  get isStream(): boolean {
    return this.definition.type === 'stream';
  }

  get isSession(): boolean {
    return this.definition.type === 'session';
  }

  get countsAttempts(): boolean {
    return !this.isStream && !this.isSession;
  }

  get lowestWanted(): number {
    if (this.#isFromStart) return this.start;
    return Math.min(...this.groups.map(({ floor }) => floor));
  }

  get length(): number {
    if (this.#isFromStart) return this.next - this.start;
    return Math.max(...this.groups.map((group) => group.depth(this.next)));
  }

  isWanted(offset: number): boolean {
    if (offset < this.start || offset >= this.next) return false;
    return this.#isFromStart || this.groups.some((group) => !group.has(offset));
  }

  /** `found`: what the machine says of a time. */
  position(position: Position, found: number): number {
    switch (position.kind) {
      case 'first':
        return this.start;
      case 'time':
        return found;
      case 'last':
        return Math.max(this.start, this.next - 1);
      case 'next':
        return this.next;
      case 'offset':
        return Math.min(Math.max(this.start, position.offset), this.next);
    }
  }

  /** Never behind the first message of that time; on a stream at most a second before it. */
  isAt(ms: number, found: number): boolean {
    const later = this.messages.findIndex(({ stamp }, at) => at >= this.start && stamp >= ms);
    const exact = later === -1 ? this.next : later;
    if (found < this.start || found > exact) return false;
    if (!this.isStream || found === this.start) return true;
    return (this.messages[found]?.stamp ?? Infinity) > ms - 1_000;
  }

  /** By other topics or limits. */
  redefined(definition: QueueDefinition): void {
    if (!hasMarks(this.definition)) this.markedFrom = this.next;
    this.definition = definition;
  }

  view({ id, name, kind, filter, floor, ...group }: ModelGroup): GroupView {
    const depth = this.next - floor - group.settled.size;
    return { groupId: id, name, kind, filter, floor: floor as Offset, depth };
  }

  /** Would the message make it longer than it may be? */
  isFull(topic: string): boolean {
    if (this.#bound === Infinity) return false;
    if (this.#isFromStart) return this.length >= this.#bound;
    return this.groups.some((group) => this.#excess(group, topic) > 0);
  }

  isRefusing({ topic, bytes }: { topic: string; bytes: number }): boolean {
    const { maxBytes, overflow } = this.definition.limits;
    if (maxBytes > 0 && bytes > maxBytes) return true;
    return overflow === 'reject-publish' && this.isFull(topic);
  }

  append(publish: ModelPublish): SeenEffect[] {
    const effects: SeenEffect[] = [];
    const { topic, bytes, stamp, options } = publish;
    const { limits } = this.definition;
    if (limits.overflow === 'drop-head' && this.isFull(topic)) this.#drop(topic, effects);
    this.#retain(publish, effects);
    const offset = this.next;
    const lives = [options?.ttlMs ?? 0, limits.ttlMs].filter((ms) => ms > 0);
    const due = stamp + Math.min(Infinity, ...lives);
    const priority = Math.min(options?.priority ?? 0, limits.maxPriority);
    this.messages.push({ stamp, due, priority });
    if (!hasMarks(this.definition)) this.markedFrom = this.next;
    if (!marksEach(this.definition)) this.exactFrom = this.next;
    effects.push({ kind: 'enqueued', queueId: this.id, offset, bytes, priority });
    for (const group of this.groups) {
      if (modelTakes(group.filter, topic, this.definition.name)) continue;
      group.settle(offset);
      effects.push(this.#settled(group, offset));
    }
    return effects;
  }

  /** May all below `start` go at this time by age or bytes, with so many messages more? */
  isOutside(start: number, { now, comes }: { now: number; comes: number }): boolean {
    const { ageMs, bytes } = this.definition.limits.retention;
    for (let offset = this.start; offset < start; offset += 1) {
      const { stamp } = this.messages[offset] as ModelMessage;
      const byAge = ageMs > 0 && stamp + ageMs <= now;
      const byBytes = bytes > 0 && (this.next + comes - offset) * BYTES > bytes;
      if (!byAge && !byBytes) return false;
    }
    return true;
  }

  /** Where it is to start so that its messages are no more than it keeps. */
  startThatKeeps(keep: number): number {
    let to = this.next - keep;
    if (!this.#isFromStart) {
      const long = this.groups.filter((group) => group.depth(this.next) > keep);
      const ends = long.map((group) => group.behind(group.depth(this.next) - keep));
      to = Math.max(this.start, ...ends);
    }
    return Math.max(this.start, Math.min(to, this.furthest));
  }

  raise(to: number, effects: SeenEffect[]): void {
    for (const group of this.groups) {
      const from = group.floor;
      if (from >= to) continue;
      group.settleRange(from, to);
      effects.push(this.#ranged(group, from, to));
    }
    this.start = to;
    effects.push({ kind: 'start-raised', queueId: this.id, start: to as Offset });
  }

  /** What one step may reach. */
  get furthest(): number {
    const floors = this.groups.map(({ floor }) => floor);
    const from = floors.length === 0 ? this.start : Math.min(this.next, ...floors);
    return Math.min(this.next, from + MAX_RANGE);
  }

  newGroup(of: { name: string; kind: GroupKind; filter: string }, begin: number): ModelGroup {
    const others = this.isStream ? [] : this.groups;
    const group = new ModelGroup(this.nextGroup as GroupId, of, begin);
    if (others.length > 0) {
      group.floor = Math.min(...others.map(({ floor }) => floor));
      for (let offset = group.floor; offset < this.next; offset += 1) {
        if (offset < begin || others.every((each) => each.has(offset))) group.settle(offset);
      }
    }
    if (of.filter !== '' && of.filter !== '#') group.filterFrom = this.next;
    this.nextGroup += 1;
    this.groups = [...this.groups, group];
    return group;
  }

  get #isFromStart(): boolean {
    return this.isStream || this.groups.length === 0;
  }

  get #bound(): number {
    const { maxMessages, maxBytes } = this.definition.limits;
    const byBytes = maxBytes === 0 ? Infinity : Math.floor(maxBytes / BYTES);
    return Math.min(maxMessages === 0 ? Infinity : maxMessages, byBytes);
  }

  #excess(group: ModelGroup, topic: string): number {
    if (!modelTakes(group.filter, topic, this.definition.name)) return 0;
    return Math.max(0, group.depth(this.next) + 1 - this.#bound);
  }

  #drop(topic: string, effects: SeenEffect[]): void {
    const { id: queueId } = this;
    const why = 'drop-head';
    if (this.#isFromStart) {
      const from = this.start as Offset;
      const excess = this.length + 1 - this.#bound;
      this.raise(from + Math.min(DROP_STEP, excess), effects);
      effects.push({ kind: 'dropped', queueId, from, count: this.start - from, why });
      return;
    }
    const counts = this.groups.map((g) => Math.min(DROP_STEP, this.#excess(g, topic)));
    const dropping = this.groups.filter((_, at) => (counts[at] as number) > 0);
    const from = Math.min(...dropping.map(({ floor }) => floor)) as Offset;
    for (const group of dropping) {
      const count = counts[this.groups.indexOf(group)] as number;
      const [begin, end] = [group.floor, group.behind(count)];
      group.settleRange(begin, end);
      effects.push(count === 1 ? this.#settled(group, begin) : this.#ranged(group, begin, end));
    }
    effects.push({ kind: 'dropped', queueId, from, count: Math.max(...counts), why });
  }

  /** By messages to the message; by bytes and age as far as the machine went, if that is right. */
  #retain({ observed, stamp: now }: ModelPublish, effects: SeenEffect[]): void {
    const { messages, bytes } = this.definition.limits.retention;
    const slack = Math.min(MAX_SLACK, Math.floor(messages / 256));
    const isLong = messages > 0 && this.length >= messages + slack;
    let to = isLong ? this.startThatKeeps(messages - 1) : this.start;
    if (bytes > 0) {
      const seen = observed.findLast((e) => e.kind === 'start-raised' && e.queueId === this.id);
      const went = seen?.kind === 'start-raised' ? seen.start : this.start;
      if (went > to && this.isOutside(went, { now, comes: 1 })) to = went;
    }
    if (to > this.start) this.raise(to, effects);
  }

  #settled({ id: groupId, floor }: ModelGroup, offset: number): SeenEffect {
    return { kind: 'settled', queueId: this.id, groupId, offset, floor, discarded: false };
  }

  #ranged({ id: groupId, floor }: ModelGroup, from: number, to: number): SeenEffect {
    return { kind: 'ranged', queueId: this.id, groupId, from, to, floor };
  }
}

/** Does the machine make marks for it? */
function hasMarks({ type, limits }: QueueDefinition): boolean {
  const { ageMs, bytes } = limits.retention;
  return type === 'stream' || limits.maxBytes > 0 || ageMs > 0 || bytes > 0;
}

/** A bound of bytes so low that it makes a mark of each message. */
function marksEach({ limits }: QueueDefinition): boolean {
  return [limits.maxBytes, limits.retention.bytes].some((bytes) => bytes > 0 && bytes < 2_560);
}

/** Filter matching by lists of levels. */
function modelTakes(filter: string, topic: string, name: string): boolean {
  if (filter === '' || filter === '#') return true;
  const own = `$queue/${name}`;
  if (topic === own || topic === `${own}/`) return false;
  const key = topic.startsWith(`${own}/`) ? topic.slice(own.length + 1) : topic;
  const levels = key.split('/');
  const wanted = filter.split('/');
  if (wanted.at(-1) === '#') {
    wanted.pop();
    if (levels.length < wanted.length) return false;
    levels.length = wanted.length;
  }
  if (levels.length !== wanted.length) return false;
  return wanted.every((level, at) => level === '+' || level === levels[at]);
}

export function modelFilterIsSound(filter: string): boolean {
  const levels = filter.split('/');
  return levels.every(
    (level, at) =>
      (!level.includes('#') || (level === '#' && at === levels.length - 1)) &&
      (!level.includes('+') || level === '+'),
  );
}
