/**
 * A message that leaves for a queue of another shard, with two machines and a network that does
 * what no network should: it delivers requests late, twice, and in any order, also those of a
 * leader that is none any more; answers likewise.
 */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Command, RouteEnd, TakeTransferCommand } from '../../src/machine/command.ts';
import type { Intent } from '../../src/machine/effect.ts';
import { DEFAULT_GROUP, type QueueId } from '../../src/machine/ids.ts';
import { ROUTES_MAX } from '../../src/machine/routes.ts';
import { MachineDriver, Sender, type SeenEffect } from './machine-driver.ts';

/** The number of the source, as the target knows it. */
const FROM = 1;
const LIMITS = { maxMessages: 3, overflow: 'reject-publish' } as const;

interface Answer {
  readonly intent: number;
  readonly number: number;
  readonly how: RouteEnd;
  readonly next: number;
}

interface Request {
  readonly intent: number;
  readonly command: TakeTransferCommand;
}

/** The queues of both shards have ids of shard 0, so all numbers are those towards shard 0. */
class Rig {
  readonly source = new MachineDriver(20);
  readonly target = new MachineDriver(20);
  readonly orders: QueueId;
  readonly sender: Sender;
  letters: QueueId;
  readonly requests: Request[] = [];
  readonly answers: Answer[] = [];
  /** How often each message was stored in the target, by its offset in the source. */
  readonly stored = new Map<number, number>();
  readonly closed = new Map<number, string>();
  /** Offsets in the target up to which everything is consumed. */
  #consumed = 0;

  constructor() {
    this.orders = this.source.declare('orders', { deadLetter: 'letters' });
    this.letters = this.target.declare('letters', LIMITS);
    this.sender = new Sender(this.source);
  }

  get open(): Intent[] {
    return this.source.machine.openIntents(0, 10_000);
  }

  /** Publishes one, which is rejected. */
  reject(): Intent {
    const effects = this.sender.send([this.orders]);
    const enqueued = effects.find((effect) => effect.kind === 'enqueued');
    this.source.now += 1;
    const settled = this.source.settle(this.orders, enqueued?.offset ?? -1, 'discard');
    const opened = settled.find((effect) => effect.kind === 'intent-opened');
    return opened?.intent ?? expect.fail('no intent');
  }

  route(intent: number): SeenEffect[] {
    return this.#at({ kind: 'route-intent', intent, queueId: this.letters });
  }

  /** What the leader of the source would ask now. */
  ask({ number: intent, offset, stamp, route }: Intent): Request {
    const request = {
      intent,
      command: {
        kind: 'take-transfer',
        from: FROM,
        number: route?.number ?? expect.fail('no route'),
        opened: stamp,
        lowestOpen: this.source.machine.lowestRoute(0),
        targets: [route?.queueId ?? this.letters],
        bytes: 1_000 + offset,
        topic: '$queue/letters',
        options: undefined,
      },
    } as const;
    this.requests.push(request);
    return request;
  }

  deliver({ intent, command }: Request): Answer {
    const effects = this.target.run(command);
    for (const effect of effects) {
      if (effect.kind !== 'enqueued') continue;
      const offset = effect.bytes - 1_000;
      this.stored.set(offset, (this.stored.get(offset) ?? 0) + 1);
    }
    const arrived = effects.at(-1);
    if (arrived?.kind !== 'arrived') return expect.fail('nobody says what became of it');
    const answer = { intent, number: command.number, how: arrived.how, next: arrived.next };
    this.answers.push(answer);
    return answer;
  }

  hear({ intent, number, how, next }: Answer): SeenEffect[] {
    return this.#at({ kind: 'end-route', intent, number, how, next });
  }

  /** All that is in the target is settled: there is room again. */
  consume(): void {
    const next = this.target.machine.nextOffset(this.letters) ?? 0;
    if (next > 0) this.target.settleRange(this.letters, [this.#consumed, next]);
    this.#consumed = next;
  }

  replaceTarget(): void {
    this.target.run({ kind: 'delete-queue', queueId: this.letters });
    this.letters = this.target.declare('letters', LIMITS);
    this.#consumed = 0;
  }

  #at(command: Command): SeenEffect[] {
    const offsets = new Map(this.open.map(({ number, offset }) => [number, offset]));
    const effects = this.source.run(command);
    for (const effect of effects) {
      if (effect.kind !== 'intent-closed') continue;
      this.closed.set(offsets.get(effect.intent) ?? -1, effect.how);
    }
    return effects;
  }

  /** A leader that is left alone ends everything that is open. */
  finish(): void {
    for (let rounds = 0; this.open.length > 0; rounds++) {
      if (rounds > 100) expect.fail('it never ends');
      this.consume();
      for (const intent of this.open) {
        if (intent.route === undefined) this.route(intent.number);
        const routed = this.open.find(({ number }) => number === intent.number);
        if (routed?.route !== undefined) this.hear(this.deliver(this.ask(routed)));
      }
    }
  }
}

const pick = fc.nat({ max: 1_000 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.constant(['reject'] as const) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('route' as const), pick) },
  { weight: 10, arbitrary: fc.tuple(fc.constant('ask' as const), pick) },
  { weight: 12, arbitrary: fc.tuple(fc.constant('deliver' as const), pick) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('hear' as const), pick) },
  { weight: 3, arbitrary: fc.constant(['consume'] as const) },
  { weight: 1, arbitrary: fc.constant(['replace'] as const) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('crash' as const), pick) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('save' as const), pick) },
);

function one<T>(of: readonly T[], at: number): T | undefined {
  return of[at % Math.max(1, of.length)];
}

function run(rig: Rig, [what, at = 0]: readonly [string, number?]): void {
  const side = at % 2 === 0 ? rig.source : rig.target;
  switch (what) {
    case 'reject':
      rig.reject();
      return;
    case 'route': {
      const intent = one(rig.open, at);
      if (intent !== undefined) rig.route(intent.number);
      return;
    }
    case 'ask': {
      const routed = rig.open.filter(({ route }) => route !== undefined);
      const intent = one(routed, at);
      if (intent !== undefined) rig.ask(intent);
      return;
    }
    case 'deliver': {
      const request = one(rig.requests, at);
      if (request !== undefined) rig.deliver(request);
      return;
    }
    case 'hear': {
      const answer = one(rig.answers, at);
      if (answer !== undefined) rig.hear(answer);
      return;
    }
    case 'consume':
      rig.consume();
      return;
    case 'replace':
      rig.replaceTarget();
      return;
    case 'crash':
      side.restart();
      return;
    default:
      side.checkpoint();
      side.evict();
  }
}

describe('a message to another shard', () => {
  it('Q31: is stored there once, over crashes, repeats, refusals, and targets that go', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const rig = new Rig();
        for (const each of steps) {
          run(rig, each);
          for (const [offset, times] of rig.stored) {
            if (times !== 1) expect.fail(`${offset} is stored ${times} times`);
          }
          for (const [offset, how] of rig.closed) {
            const isThere = how === 'transferred' && rig.stored.get(offset) === 1;
            if (!isThere) expect.fail(`${offset} is closed as ${how}, and not there`);
          }
        }
        rig.finish();
        // What is still on its way does nothing any more, however late it comes.
        for (const request of rig.requests) rig.deliver(request);
        for (const answer of rig.answers) rig.hear(answer);
        const sent = rig.sender.number;
        expect([...rig.closed.values()]).toEqual(Array.from({ length: sent }, () => 'transferred'));
        expect([...rig.stored.values()]).toEqual(Array.from({ length: sent }, () => 1));
      }),
      { numRuns: 100 },
    );
  });

  it('is told what became of it the first time, until the source has closed it', () => {
    const rig = new Rig();
    const first = rig.reject();
    const second = rig.reject();
    for (const { number } of [first, second]) rig.route(number);
    const asked = rig.open.map((intent) => rig.ask(intent));
    const [one, other] = asked as [Request, Request];
    expect(rig.deliver(one).how).toBe('taken');
    expect(rig.deliver(one).how).toBe('taken');
    expect(rig.target.machine.nextOffset(rig.letters)).toBe(1);
    const answer = rig.deliver(one);
    expect(rig.hear(answer)).toEqual([
      { kind: 'intent-closed', intent: first.number, how: 'transferred' },
    ]);
    expect(rig.hear(answer)).toEqual([]);
    // The next message tells that the first number is closed.
    const later = rig.open.find(({ number }) => number === second.number) as Intent;
    expect(rig.deliver(rig.ask(later))).toMatchObject({ how: 'taken', number: 2, next: 3 });
    expect(rig.deliver(one)).toMatchObject({ how: 'stale', next: 3 });
    expect(rig.deliver(other).how).toBe('taken');
    expect([...rig.stored.values()]).toEqual([1, 1]);
  });

  it('Q6: one that is refused has another number the next time, and the old one stays refused', () => {
    const rig = new Rig();
    for (let count = 0; count < 4; count++) rig.route(rig.reject().number);
    const answers = rig.open.map((intent) => rig.deliver(rig.ask(intent)));
    expect(answers.map(({ how }) => how)).toEqual(['taken', 'taken', 'taken', 'refused']);
    const late = rig.requests[3] as Request;
    rig.consume();
    expect(rig.deliver(late).how).toBe('refused');
    expect(rig.hear(answers[3] as Answer)).toEqual([
      { kind: 'route-ended', intent: 4, how: 'refused' },
    ]);
    const again = rig.open.find(({ number }) => number === 4);
    expect(again).toMatchObject({ refusals: 1, route: undefined });
    const [routed] = rig.route(4);
    expect(routed).toMatchObject({ kind: 'intent-routed', intent: { route: { number: 5 } } });
    rig.finish();
    expect(rig.stored.get(3)).toBe(1);
    expect(rig.deliver(late).how).toBe('stale');
  });

  it('whose target is gone stays open, and goes to the next one of that name', () => {
    const rig = new Rig();
    const { number } = rig.reject();
    rig.route(number);
    const request = rig.ask(rig.open[0] as Intent);
    rig.replaceTarget();
    const answer = rig.deliver(request);
    expect(answer.how).toBe('gone');
    expect(rig.hear(answer)).toEqual([{ kind: 'route-ended', intent: number, how: 'gone' }]);
    rig.finish();
    expect(rig.deliver(request).how).toBe('stale');
    expect(rig.stored.get(0)).toBe(1);
  });

  it('does not go to a queue of its own shard while it is on its way', () => {
    const rig = new Rig();
    const spare = rig.source.declare('spare');
    const { number: intent } = rig.reject();
    rig.route(intent);
    const message = { bytes: 1, topic: 't', options: undefined };
    const transfer = { kind: 'transfer', intent, targets: [spare], ...message } as const;
    expect(rig.source.run(transfer)).toEqual([]);
    expect(rig.route(intent)).toEqual([]);
    rig.target.run({ kind: 'delete-queue', queueId: rig.letters });
    rig.hear(rig.deliver(rig.ask(rig.open[0] as Intent)));
    expect(rig.source.run(transfer).at(-1)).toMatchObject({ kind: 'intent-closed' });
  });

  it('of which too many are on their way waits, so that the target remembers a bounded number', () => {
    const rig = new Rig();
    for (let count = 0; count <= ROUTES_MAX; count++) rig.reject();
    const intents = rig.open;
    for (const { number } of intents.slice(0, ROUTES_MAX)) rig.route(number);
    const last = intents.at(-1)?.number ?? 0;
    expect(rig.route(last)).toEqual([{ kind: 'route-refused', intent: last }]);
    rig.source.restart();
    // Not the lowest: the numbers would lie too far from each other.
    const [first, second] = rig.open as [Intent, Intent];
    rig.consume();
    rig.hear(rig.deliver(rig.ask(second)));
    expect(rig.route(last)).toEqual([{ kind: 'route-refused', intent: last }]);
    rig.hear(rig.deliver(rig.ask(first)));
    expect(rig.route(last)[0]?.kind).toBe('intent-routed');
  });
});

describe('a source that has lost the end of its log', () => {
  it('gives numbers again, and loses no message by it', () => {
    const rig = new Rig();
    const before = new Map(rig.source.dump());
    rig.route(rig.reject().number);
    rig.hear(rig.deliver(rig.ask(rig.open[0] as Intent)));
    expect(rig.open).toEqual([]);

    const rescued = new Rig();
    Object.assign(rescued, { target: rig.target, letters: rig.letters });
    expect(new Map(rescued.source.dump())).toEqual(before);
    rescued.source.now += 60_000;
    rescued.route(rescued.reject().number);
    const asked = rescued.open[0] as Intent;
    expect(asked.route?.number).toBe(1);
    const answer = rescued.deliver(rescued.ask(asked));
    expect(answer).toMatchObject({ how: 'stale', next: 2 });
    rescued.hear(answer);
    rescued.finish();
    expect(rig.target.machine.nextOffset(rig.letters)).toBe(2);
    expect(rescued.closed.get(0)).toBe('transferred');
  });
});

describe('what is on its way between shards', () => {
  it('is in the records of both, and comes back from them', () => {
    const rig = new Rig();
    rig.route(rig.reject().number);
    const stamp = rig.source.now;
    rig.deliver(rig.ask(rig.open[0] as Intent));
    const open = rig.open;
    const intent = [1, 0, rig.orders, DEFAULT_GROUP, 0, 1, stamp, 0, 0, 'letters', []];
    const records = new Map<string, unknown>(rig.source.dump());
    expect(records.get('outbox')).toEqual([1, 2, [0], [0, 2]]);
    expect(records.get('intent/0')).toEqual([1, [...intent, rig.letters, 1]]);
    expect(new Map<string, unknown>(rig.target.dump()).get('arrivals/1')).toEqual([
      1,
      1,
      [1, stamp, 0],
    ]);
    const again = new MachineDriver(20, new Map(rig.source.dump()));
    expect(again.machine.openIntents(0, 9)).toEqual(open);
    expect(again.machine.lowestRoute(0)).toBe(1);
  });
});
