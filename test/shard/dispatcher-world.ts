/**
 * A dispatcher with all around it in memory: a stand-in for the machine that applies what is
 * proposed when the test says so, payloads (there, away, lost), and an output that takes notes.
 */

import { DEFAULT_LIMITS, type QueueDefinition } from '../../src/machine/definitions.ts';
import type { QueueLimits, QueueType } from '../../src/machine/definitions.ts';
import type { SettleOutcome } from '../../src/machine/command.ts';
import { Effects, EffectKind, type GroupView, type RareEffect } from '../../src/machine/effect.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import type { LostGroup } from '../../src/machine/lost-groups.ts';
import type { GroupDispatchStart } from '../../src/machine/machine.ts';
import { SettledChunk } from '../../src/machine/settled-ranges.ts';
import { Alarms } from '../../src/shard/alarms.ts';
import { Dispatcher } from '../../src/shard/dispatcher.ts';
import type {
  AttachRequest,
  DispatcherOptions,
  GroupCommand,
  GroupPlace,
  SettleAsk,
  SettleReason,
} from '../../src/shard/dispatcher.ts';
import { storedBytes } from './dispatcher-message.ts';
import { wordsOf } from './dispatcher-words.ts';
import type { StoredMessage } from '../../src/shard/payloads.ts';

export const QUEUE = 1 as QueueId;
export const TERM = 7;

interface FakeGroup {
  readonly view: { groupId: GroupId; name: string; kind: GroupView['kind']; filter: string };
  readonly filterFrom: number;
  floor: number;
  settled: Set<number>;
  readonly attempts: Map<number, number>;
  idle: boolean;
}

interface FakeMessage {
  readonly bytes: Uint8Array;
  readonly topic: string;
  readonly index: number;
}

type Proposed =
  | { kind: 'settle'; of: GroupPlace; offset: Offset; reason: SettleReason }
  | GroupCommand;

export interface SeenDelivery {
  readonly consumer: number;
  readonly offset: number;
  readonly deliveryNumber: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

export interface PublishOptions {
  readonly topic?: string;
  readonly expirySeconds?: number;
  readonly priority?: number;
}

export interface WorldOptions {
  readonly type?: QueueType;
  readonly limits?: Partial<QueueLimits>;
  readonly marks?: DispatcherOptions['marks'];
}

export class DispatcherWorld {
  readonly dispatcher: Dispatcher;
  readonly alarms: Alarms;
  readonly groups = new Map<GroupId, FakeGroup>();
  readonly messages: FakeMessage[] = [];
  /** What is proposed and not applied. */
  proposals: Proposed[] = [];
  /** Everything that was ever proposed, in words. */
  readonly log: string[] = [];
  readonly heard: string[] = [];
  deliveries: SeenDelivery[] = [];
  readonly logged: string[] = [];
  readonly away = new Set<number>();
  readonly lost = new Set<number>();
  /** What is lost is stored nowhere, and nothing is damaged. */
  areGone = false;
  goneBelow = 0;
  lostGroup: LostGroup | undefined;
  readonly attachedTo = new Map<number, GroupId>();
  definition: QueueDefinition | undefined;
  now = 1_000_000;
  open = true;
  /** The output closes after so many deliveries. */
  room = Number.POSITIVE_INFINITY;
  takesProposals = true;
  /** Answers of `groupNamed` and `start` that wait; undefined: none does. */
  held: (() => void)[] | undefined;
  failure: Error | undefined;
  #nextGroup = 1;
  readonly #effects = new Effects();
  readonly #stored: StoredMessage = {
    bytes: new Uint8Array(0),
    start: 0,
    end: 0,
    index: 0 as LogIndex,
  };

  constructor({ type = 'classic', limits = {}, marks }: WorldOptions = {}) {
    this.definition = {
      name: 'orders',
      type,
      topics: ['$queue/orders/#'],
      limits: {
        ...DEFAULT_LIMITS,
        defaultGroup: type === 'stream' ? 'client' : 'shared',
        ...limits,
      },
    };
    if (this.definition.limits.defaultGroup === 'shared') this.addGroup('default');
    this.alarms = new Alarms(
      {
        warn: (fields, message) => void this.logged.push(`${message} ${String(fields['offset'])}`),
        error: (fields, message) => void this.logged.push(`${message} ${String(fields['offset'])}`),
      },
      { nameOf: () => 'orders', lostGroups: () => [] },
    );
    this.dispatcher = new Dispatcher(this.#options(marks));
  }

  // State of the stand-in.

  addGroup(name: string, filter = '', kind: GroupView['kind'] = 'explicit'): GroupId {
    const groupId = (name === 'default' ? 0 : this.#nextGroup++) as GroupId;
    this.groups.set(groupId, {
      view: { groupId, name, kind, filter },
      filterFrom: this.messages.length,
      floor: 0,
      settled: new Set(),
      attempts: new Map(),
      idle: false,
    });
    return groupId;
  }

  group(name: string): FakeGroup {
    const group = [...this.groups.values()].find(({ view }) => view.name === name);
    if (group === undefined) throw new Error(`no group ${name}`);
    return group;
  }

  publish(count = 1, options: PublishOptions = {}): void {
    for (let i = 0; i < count; i++) {
      const offset = this.messages.length;
      const topic = options.topic ?? '$queue/orders/eu';
      const { expirySeconds } = options;
      const bytes = storedBytes(this.now, { offset, topic, expirySeconds });
      this.messages.push({ bytes, topic, index: offset + 1 });
      this.dispatcher.enqueued(QUEUE, offset as Offset, options.priority ?? 0);
    }
  }

  // What a client does.

  attach(id: number, request: Partial<AttachRequest> = {}): void {
    this.dispatcher.attach(id, {
      queueId: QUEUE,
      clientId: `client-${id}`,
      group: undefined,
      filter: '',
      start: undefined,
      credit: 10,
      manual: false,
      ...request,
    });
  }

  /** Attaches, and lets everything that follows from it happen. */
  async member(id: number, request: Partial<AttachRequest> = {}): Promise<void> {
    this.attach(id, request);
    await this.settle();
  }

  say(delivery: SeenDelivery, outcome: SettleOutcome = 'complete'): void {
    const { offset, deliveryNumber, consumer } = delivery;
    this.dispatcher.settle({
      queueId: QUEUE,
      groupId: this.attachedTo.get(consumer) as GroupId,
      offset: offset as Offset,
      term: TERM,
      deliveryNumber,
      outcome,
    });
  }

  ask(tag: number, group: string, ask: Partial<SettleAsk>): void {
    this.dispatcher.ask({
      tag,
      queueId: QUEUE,
      group,
      offset: 0 as Offset,
      term: TERM,
      deliveryNumber: 1,
      outcome: 'complete',
      ...ask,
    });
  }

  // Time.

  /** Serves, applies and answers until nothing is left to do. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3;) {
      const before = this.deliveries.length + this.log.length + this.heard.length;
      this.serve();
      this.apply();
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
      const after = this.deliveries.length + this.log.length + this.heard.length;
      quiet = before === after && this.proposals.length === 0 ? quiet + 1 : 0;
    }
    if (this.failure !== undefined) throw this.failure;
  }

  serve(): void {
    while (this.dispatcher.serve(1, () => 0));
  }

  /** `consumer:offset` of what was delivered since the last call. */
  delivered(): string[] {
    const deliveries = this.deliveries.map(({ consumer, offset }) => `${consumer}:${offset}`);
    this.deliveries = [];
    return deliveries;
  }

  /** What clients heard since the last call. */
  news(): string[] {
    return this.heard.splice(0);
  }

  apply(): void {
    while (this.applyNext());
  }

  applyNext(): boolean {
    const proposed = this.proposals.shift();
    if (proposed === undefined) return false;
    this.#effects.clear();
    if (proposed.kind === 'settle') this.#settle(proposed);
    else this.run(proposed);
    this.#tell();
    return true;
  }

  purge(groupId: GroupId, from: number, to: number): void {
    this.#effects.clear();
    this.range(groupId, from, to);
    this.#tell();
  }

  #tell(): void {
    const effects = this.#effects;
    for (let at = 0; at < effects.length; at++) {
      const kind = effects.kind(at);
      if (kind === EffectKind.settled) this.dispatcher.settled(effects, at);
      else if (kind === EffectKind.ranged) this.dispatcher.ranged(effects, at);
      else if (kind === EffectKind.requeued) this.dispatcher.requeued(effects, at);
    }
  }

  rare(effect: RareEffect): void {
    this.dispatcher.rare(effect);
  }

  range(groupId: GroupId, from: number, to: number): void {
    const group = this.groups.get(groupId);
    if (group === undefined) return;
    for (let offset = from; offset < to; offset++) {
      if (offset >= group.floor) group.settled.add(offset);
    }
    this.#raise(group);
    const effects = this.#effects;
    effects.finishRanged(effects.addRanged(QUEUE, groupId, { from, to }), group.floor);
  }

  run(command: GroupCommand): void {
    const { queueId } = command;
    switch (command.kind) {
      case 'settle-range':
        this.range(command.groupId, command.from, Math.min(command.to, this.messages.length));
        return;
      case 'create-group': {
        const { name, groupKind, filter } = command;
        if (name.length > 255) {
          this.rare({
            kind: 'group-refused',
            queueId,
            name,
            reason: 'invalid',
            detail: 'too long',
          });
          return;
        }
        const there = this.#named(name);
        const groupId = there?.view.groupId ?? this.addGroup(name, filter, groupKind);
        const group = this.groups.get(groupId) as FakeGroup;
        if (there === undefined && command.start?.kind === 'offset') {
          group.floor = command.start.offset;
        }
        const view = this.#view(group);
        this.rare({ kind: 'group-created', queueId, group: view, created: there === undefined });
        return;
      }
      case 'delete-group':
        this.deleteGroup(command.groupId);
        return;
      case 'idle-group': {
        const group = this.groups.get(command.groupId);
        if (group !== undefined) group.idle = command.idle;
        return;
      }
      case 'seek-group':
        this.seek(
          command.groupId,
          command.position.kind === 'offset' ? command.position.offset : 0,
        );
    }
  }

  seek(groupId: GroupId, offset: number): void {
    const group = this.groups.get(groupId) as FakeGroup;
    const { name } = group.view;
    if (this.definition?.type !== 'stream' && offset < group.floor) {
      const refused = { kind: 'group-refused', queueId: QUEUE, name } as const;
      this.rare({ ...refused, reason: 'not-back', detail: 'a classic queue has no way back' });
      return;
    }
    group.floor = offset;
    group.settled = new Set();
    this.rare({ kind: 'group-sought', queueId: QUEUE, groupId, floor: offset as Offset });
  }

  deleteGroup(groupId: GroupId, why: 'asked' | 'expired' = 'asked'): void {
    const name = this.groups.get(groupId)?.view.name ?? '';
    this.groups.delete(groupId);
    this.rare({ kind: 'group-deleted', queueId: QUEUE, groupId, name, why });
  }

  deleteQueue(): void {
    this.definition = undefined;
    this.groups.clear();
    this.rare({ kind: 'queue-deleted', queueId: QUEUE, name: 'orders' });
  }

  #settle({ of, offset, reason }: Extract<Proposed, { kind: 'settle' }>): void {
    const group = this.groups.get(of.groupId);
    if (group === undefined || offset >= this.messages.length) return;
    if (offset < group.floor || group.settled.has(offset)) return;
    const effects = this.#effects;
    if (reason.outcome === 'requeue') {
      const attempts = (group.attempts.get(offset) ?? 0) + 1;
      group.attempts.set(offset, attempts);
      const at = effects.addRequeued(QUEUE, of.groupId, offset);
      effects.finishRequeued(at, attempts, this.now + 100 * attempts);
      return;
    }
    group.settled.add(offset);
    this.#raise(group);
    const at = effects.addSettled(QUEUE, of.groupId, offset);
    effects.finishSettled(at, group.floor, reason.outcome === 'discard');
  }

  #raise(group: FakeGroup): void {
    while (group.settled.delete(group.floor)) group.floor++;
  }

  #named(name: string): FakeGroup | undefined {
    return [...this.groups.values()].find(({ view }) => view.name === name);
  }

  #view({ view, floor, settled }: FakeGroup): GroupView {
    const depth = this.messages.length - floor - settled.size;
    return { ...view, floor: floor as Offset, depth };
  }

  #start(groupId: GroupId): GroupDispatchStart | undefined {
    const group = this.groups.get(groupId);
    if (group === undefined || this.definition === undefined) return undefined;
    const settled = new Map<number, SettledChunk>();
    for (const offset of group.settled) {
      const chunk = Math.floor(offset / 4096);
      const bits = settled.get(chunk) ?? new SettledChunk();
      bits.set(offset % 4096);
      settled.set(chunk, bits);
    }
    return {
      floor: group.floor as Offset,
      nextOffset: this.messages.length as Offset,
      limits: this.definition.limits,
      settled,
      priorities: undefined,
      requeued: [...group.attempts]
        .filter(([offset]) => offset >= group.floor && !group.settled.has(offset))
        .map(([offset, attempts]) => ({ offset, attempts, notBefore: 0 })),
      filter: group.view.filter,
      filterFrom: group.filterFrom as Offset,
      lost: this.lostGroup?.groupId === groupId ? this.lostGroup : undefined,
    };
  }

  /** In a later turn, or when the test says so. */
  async #later(answer: () => void): Promise<void> {
    await Promise.resolve();
    if (this.held !== undefined) await new Promise<void>((go) => this.held?.push(go));
    answer();
  }

  #options(marks: DispatcherOptions['marks'] | undefined): DispatcherOptions {
    return {
      term: TERM,
      marks: marks ?? { inheritedThrough: 0, seenBelow: new Map() },
      payloads: this.#payloads(),
      proposals: {
        settle: (of, offset, reason) => {
          const { queueId, groupId } = of;
          const words = `${reason.outcome}/${reason.cause} ${groupId}:${offset}`;
          return this.#propose(words, { kind: 'settle', of: { queueId, groupId }, offset, reason });
        },
        plain: (command) => this.#propose(wordsOf(command), command),
      },
      output: this.#output(),
      alarms: this.alarms,
      now: () => this.now,
      holdsBack: () => false,
      definition: (queueId) => (queueId === QUEUE ? this.definition : undefined),
      goneBelow: () => this.goneBelow as Offset,
      groupNamed: (_queueId, name, found) =>
        this.#later(() => {
          const group = this.#named(name);
          found(group === undefined ? undefined : this.#view(group));
        }),
      start: ({ groupId }, began) => this.#later(() => began(this.#start(groupId))),
      wake: () => undefined,
      failed: (error) => void (this.failure = error as Error),
    };
  }

  #propose(words: string, proposed: Proposed): boolean {
    if (!this.takesProposals) return false;
    this.log.push(words);
    this.proposals.push(proposed);
    return true;
  }

  #payloads(): DispatcherOptions['payloads'] {
    const areGone = (): boolean => this.areGone;
    return {
      lostDetail: 'damaged',
      get lostIsGone() {
        return areGone();
      },
      get: (_queueId, offset) => {
        if (this.lost.has(offset)) return 'lost';
        if (this.away.has(offset)) return 'away';
        const message = this.messages[offset] as FakeMessage;
        this.#stored.bytes = message.bytes;
        this.#stored.end = message.bytes.length;
        this.#stored.index = message.index as LogIndex;
        return this.#stored;
      },
      fetch: async (_queueId, offset) => {
        await Promise.resolve();
        for (const each of this.away) if (each < offset + 16) this.away.delete(each);
        return { kind: 'ready' };
      },
    };
  }

  #output(): DispatcherOptions['output'] {
    const isOpen = (): boolean => this.open && this.room > 0;
    return {
      attached: (consumer, { groupId, name }) => {
        this.attachedTo.set(consumer, groupId);
        this.heard.push(`${consumer} attached ${name}`);
      },
      deliver: (header) => {
        const { consumer, offset, deliveryNumber, attempt, redelivered } = header;
        this.room--;
        this.deliveries.push({ consumer, offset, deliveryNumber, attempt, redelivered });
      },
      ended: (consumer, offset) => void this.heard.push(`${consumer} ended ${offset}`),
      cancelled: (consumer, reason, detail) =>
        void this.heard.push(`${consumer} cancelled ${reason}: ${detail}`),
      settled: (tag, answer) => void this.heard.push(`#${tag} ${answer}`),
      get open() {
        return isOpen();
      },
      takes: isOpen,
    };
  }
}
