/**
 * Drives a machine as a shard does: asks for keys, loads records from a store, applies, takes
 * checkpoints, evicts, and starts again from the last checkpoint with a replay of the commands
 * behind it.
 *
 * The store holds copies, so a record that shares memory with what was captured shows.
 */

import type {
  Command,
  CreateGroupCommand,
  EnqueueOptions,
  Position,
  RangeCause,
  SettleCause,
  SettleOutcome,
} from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits, type QueueType } from '../../src/machine/definitions.ts';
import {
  EffectKind,
  Effects,
  type GroupView,
  type Outcome,
  type RareEffect,
} from '../../src/machine/effect.ts';
import {
  DEFAULT_GROUP,
  type GroupId,
  type LogIndex,
  type Offset,
  type QueueId,
  type StampMs,
  firstQueueIdOf,
} from '../../src/machine/ids.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { CapturedRecord, RecordData, RecordKey } from '../../src/machine/record-data.ts';

/** Nothing is wanted of it but to be stored. */
export const PLAIN: EnqueueOptions = {
  ttlMs: 0,
  priority: 0,
  delayMs: 0,
  producer: undefined,
  key: undefined,
};

interface OfGroup {
  queueId: number;
  groupId: number;
}

/** An effect as an object, easy to compare. */
export type SeenEffect =
  | { kind: 'confirmed'; node: string; boot: number; number: number; outcome: Outcome }
  | { kind: 'enqueued'; queueId: number; offset: number; bytes: number; priority: number }
  | (OfGroup & { kind: 'settled'; offset: number; floor: number; discarded: boolean })
  | (OfGroup & { kind: 'ranged'; from: number; to: number; floor: number })
  | (OfGroup & { kind: 'requeued'; offset: number; attempts: number; notBefore: number })
  | RareEffect;

export function seen(effects: Effects, at: number): SeenEffect {
  switch (effects.kind(at)) {
    case EffectKind.confirmed:
      if (effects.accepted(at) !== (effects.outcome(at) === 'accepted'))
        throw new Error('accepted');
      return {
        kind: 'confirmed',
        node: effects.node(at),
        boot: effects.boot(at),
        number: effects.number(at),
        outcome: effects.outcome(at),
      };
    case EffectKind.enqueued:
      return {
        kind: 'enqueued',
        queueId: effects.queueId(at),
        offset: effects.offset(at),
        bytes: effects.bytes(at),
        priority: effects.priority(at),
      };
    case EffectKind.settled:
      return {
        kind: 'settled',
        queueId: effects.queueId(at),
        groupId: effects.groupId(at),
        offset: effects.offset(at),
        floor: effects.floor(at),
        discarded: effects.discarded(at),
      };
    case EffectKind.ranged:
      return {
        kind: 'ranged',
        queueId: effects.queueId(at),
        groupId: effects.groupId(at),
        from: effects.offset(at),
        to: effects.rangeEnd(at),
        floor: effects.floor(at),
      };
    case EffectKind.requeued:
      return {
        kind: 'requeued',
        queueId: effects.queueId(at),
        groupId: effects.groupId(at),
        offset: effects.offset(at),
        attempts: effects.attempts(at),
        notBefore: effects.notBefore(at),
      };
    case EffectKind.rare:
      return effects.rare(at);
  }
}

interface Logged {
  readonly index: number;
  readonly stamp: number;
  readonly command: Command;
}

export class MachineDriver {
  machine: Machine;
  /** What the last durable checkpoint holds. */
  readonly store: Map<RecordKey, RecordData>;
  index = 0;
  now = 1_000_000;
  readonly #maxResidentRecords: number;
  /** Commands behind the last cut, and behind the one that is being written. */
  #log: Logged[] = [];
  #cut: { at: number; records: CapturedRecord[] } | undefined;
  readonly #effects = new Effects();

  readonly #shard: number;

  constructor(maxResidentRecords = 1_000, store = new Map<RecordKey, RecordData>(), shard = 0) {
    this.store = store;
    this.#shard = shard;
    this.#maxResidentRecords = maxResidentRecords;
    this.machine = this.#start();
  }

  /** Applies as an entry of its own; what came of it. */
  run(command: Command): SeenEffect[] {
    this.index += 1;
    this.#log.push({ index: this.index, stamp: this.now, command });
    return this.#apply(this.index, this.now, command);
  }

  declare(name: string, limits: Partial<QueueLimits> = {}, type: QueueType = 'classic'): QueueId {
    const [effect] = this.run({
      kind: 'declare-queue',
      name,
      type,
      topics: [`$queue/${name}/#`],
      limits: { ...DEFAULT_LIMITS, ...limits },
    });
    if (effect?.kind !== 'queue-declared')
      throw new Error(`not declared: ${JSON.stringify(effect)}`);
    return effect.queueId;
  }

  open(node: string): number {
    const [effect] = this.run({ kind: 'open-stream', node });
    if (effect?.kind !== 'stream-opened') throw new Error('not opened');
    return effect.boot;
  }

  settle(
    queueId: QueueId,
    offset: number,
    outcome: SettleOutcome = 'complete',
    cause: SettleCause = 'client',
  ): SeenEffect[] {
    return this.settleOf({ queueId, groupId: DEFAULT_GROUP, cause }, offset, outcome);
  }

  /** The same for any group. */
  settleOf(
    of: { queueId: QueueId; groupId: GroupId; cause?: SettleCause },
    offset: number,
    outcome: SettleOutcome = 'complete',
  ): SeenEffect[] {
    const settlement = { cause: 'client', offset: offset as Offset, outcome, ...of } as const;
    return this.run({ kind: 'settle', ...settlement });
  }

  /** Settles [from, to). */
  settleRange(
    queueId: QueueId,
    [from, to]: readonly [number, number],
    { cause = 'purged', groupId = DEFAULT_GROUP }: { cause?: RangeCause; groupId?: GroupId } = {},
  ): SeenEffect[] {
    const range = { from: from as Offset, to: to as Offset };
    return this.run({ kind: 'settle-range', queueId, groupId, ...range, cause });
  }

  /** The id of a group that is made, or was there. */
  group(queueId: QueueId, name: string, more: Partial<CreateGroupCommand> = {}): GroupId {
    const [effect] = this.createGroup(queueId, name, more);
    if (effect?.kind !== 'group-created') throw new Error(`refused: ${JSON.stringify(effect)}`);
    return effect.group.groupId;
  }

  createGroup(
    queueId: QueueId,
    name: string,
    more: Partial<CreateGroupCommand> = {},
  ): SeenEffect[] {
    const asked = { groupKind: 'explicit', filter: '', start: undefined } as const;
    return this.run({ kind: 'create-group', queueId, name, ...asked, ...more });
  }

  /** All of a queue's groups, whatever is in memory. */
  groups(queueId: QueueId): readonly GroupView[] {
    this.#load(() => this.machine.queueKeys(queueId));
    return this.machine.groups(queueId) ?? [];
  }

  isWanted(queueId: QueueId, offset: number): boolean {
    this.loadWanted(queueId, offset, offset + 1);
    return this.machine.isWanted(queueId, offset as Offset);
  }

  loadWanted(queueId: QueueId, from: number, to: number): void {
    this.#load(() => this.machine.wantedKeys(queueId, from as Offset, to as Offset));
  }

  offsetAt(queueId: QueueId, position: Position): number | undefined {
    this.#load(() => this.machine.positionKeys(queueId, position));
    return this.machine.offsetAt(queueId, position);
  }

  lowestWanted(queueId: QueueId): number | undefined {
    this.#load(() => this.machine.queueKeys(queueId));
    return this.machine.lowestWanted(queueId);
  }

  freeze(): void {
    this.#cut = { at: this.#log.length, records: [] };
    this.machine.freeze();
  }

  get isFrozen(): boolean {
    return this.#cut !== undefined;
  }

  /** One slice of the cut; writes it to the store when it is complete. */
  capture(max = 3): boolean {
    const cut = this.#cut;
    if (cut === undefined) return true;
    if (!this.machine.capture(max, cut.records)) return false;
    const keys = cut.records.map(({ key }) => key);
    if (new Set(keys).size !== keys.length) throw new Error(`twice in a cut: ${keys.join(' ')}`);
    for (const { key, data } of cut.records) {
      if (data === undefined) this.store.delete(key);
      else this.store.set(key, structuredClone(data));
    }
    this.#log = this.#log.slice(cut.at);
    this.#cut = undefined;
    this.machine.thaw();
    return true;
  }

  /** A whole one of the state as it is, behind the one that may be under way. */
  checkpoint(): void {
    while (!this.capture(100));
    this.freeze();
    while (!this.capture(100));
  }

  evict(): number {
    return this.machine.evict(1_000_000);
  }

  /** A crash: what was not in a durable checkpoint comes again from the log. */
  restart(): void {
    this.#cut = undefined;
    this.machine = this.#start();
    for (const { index, stamp, command } of this.#log) this.#apply(index, stamp, command);
  }

  /** Brings everything of a queue into memory, and gives its state for a dispatch policy. */
  dispatchStart(queueId: QueueId, groupId = DEFAULT_GROUP) {
    this.#load(() => this.machine.dispatchKeys(queueId, groupId));
    this.#load(() => this.machine.queueKeys(queueId));
    const start = this.machine.dispatchStart(queueId, groupId);
    if (start === undefined) throw new Error('no such group');
    return start;
  }

  /** All records as a checkpoint would have them: equal state gives equal dumps. */
  dump(): [RecordKey, RecordData][] {
    this.checkpoint();
    return [...this.store].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  #apply(index: number, stamp: number, command: Command): SeenEffect[] {
    this.#load(() => this.machine.keys(command, stamp as StampMs));
    this.#effects.clear();
    this.machine.apply(index as LogIndex, stamp as StampMs, command, this.#effects);
    return Array.from({ length: this.#effects.length }, (_, at) => seen(this.#effects, at));
  }

  #load(ask: () => readonly RecordKey[]): void {
    for (let keys = ask(); keys.length > 0; keys = ask()) {
      for (const key of keys) this.machine.load(key, structuredClone(this.store.get(key)));
    }
  }

  #start(): Machine {
    this.machine = new Machine({
      maxResidentRecords: this.#maxResidentRecords,
      firstQueueId: firstQueueIdOf(this.#shard),
    });
    this.#load(() => this.machine.startKeys());
    return this.machine;
  }
}

/** What may be said of a message. */
export interface Sent {
  readonly bytes?: number;
  readonly topic?: string;
  readonly options?: EnqueueOptions | undefined;
}

/** A sender that numbers its enqueues. */
export class Sender {
  readonly driver: MachineDriver;
  readonly node: string;
  readonly boot: number;
  number = 0;
  answeredUpTo = 0;

  constructor(driver: MachineDriver, node = 'node-1') {
    this.driver = driver;
    this.node = node;
    this.boot = driver.open(node);
  }

  /** Enqueues the next number; all that came of it. */
  send(targets: readonly QueueId[], bytes = 100, more: Sent = {}): SeenEffect[] {
    this.number += 1;
    return this.sendNumber(this.number, targets, { bytes, ...more });
  }

  sendNumber(number: number, targets: readonly QueueId[], more: Sent = {}): SeenEffect[] {
    const { driver, node, boot, answeredUpTo } = this;
    const sent = { bytes: 100, topic: '$queue/orders', options: undefined, ...more };
    return driver.run({ kind: 'enqueue', node, boot, number, answeredUpTo, targets, ...sent });
  }

  /** Fills a queue and takes note of the answers. */
  fill(queueId: QueueId, count: number, topic = '$queue/orders'): void {
    for (let i = 0; i < count; i += 1) {
      this.send([queueId], 100, { topic });
      this.answeredUpTo = this.number;
    }
  }

  outcome(effects: readonly SeenEffect[]): Outcome | undefined {
    const confirmed = effects.find((effect) => effect.kind === 'confirmed');
    return confirmed?.outcome;
  }
}
