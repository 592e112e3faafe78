/** Retained messages on their way into the queue of a durable session, in the machine. */

import { beforeEach, describe, expect, it } from 'vitest';
import type { EnqueueOptions, ReplayStep } from '../../src/machine/command.ts';
import type { Outcome } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import type { StoredReplay, StoredSubscription } from '../../src/machine/session-record.ts';
import { Sender } from './machine-driver.ts';
import { Rig } from './session-rig.ts';

const PLAIN = { ttlMs: 0, priority: 0, delayMs: 0, producer: undefined, key: undefined };
const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;

function subscription(filter: string, set: Partial<StoredSubscription> = {}): StoredSubscription {
  const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
  return { filter, qos: 1, ...plain, retainHandling: 0, ...set };
}

let rig: Rig;
let sender: Sender;

beforeEach(() => {
  rig = new Rig();
  sender = new Sender(rig.driver);
  rig.claim(0);
});

function change(subscribe: readonly StoredSubscription[], unsubscribe: readonly string[] = []) {
  return rig.run('change-session', 1, { subscribe, unsubscribe });
}

/** A subscription that owes what lies below `end`. */
function owes(filter: string, replay: StoredReplay): void {
  change([subscription(filter, { replay })]);
}

/** Of the run 7, unless it says otherwise. */
function step(set: Partial<ReplayStep>, more: Partial<EnqueueOptions> = {}): Outcome | undefined {
  const at = set.at ?? 0;
  const replay = { ownerEpoch: 1, run: 7, from: at, at, next: at + 1, room: 100, ...set };
  const options = { ...PLAIN, ...more, replay };
  rig.driver.evict();
  return sender.outcome(sender.send([rig.queueId], 100, { options }));
}

function owed(): (StoredReplay | undefined)[] {
  const claimed = rig.claim(rig.driver.machine.sessions.peek(rig.queueId)?.ownerEpoch ?? 0);
  if (claimed?.kind !== 'session-claimed') throw new Error('not claimed');
  return claimed.subscriptions.map(({ replay }) => replay);
}

const stored = (): number => rig.driver.machine.nextOffset(rig.queueId) ?? -1;

describe('a step', () => {
  it('stores the message and moves the replay, and both are there after a restart', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    expect(step({ from: 0, at: 2, next: 5 })).toBe('accepted');
    rig.driver.checkpoint();
    rig.driver.restart();
    expect(step({ from: 5, at: 6, next: 8 })).toBe('accepted');
    expect(stored()).toBe(2);
    expect(owed()).toEqual([{ run: 7, next: 8, end: 10 }]);
  });

  it('that comes again stores nothing', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    for (const _time of [1, 2]) expect(step({ at: 2, from: 0 })).toBe('accepted');
    expect(stored()).toBe(1);
    // Nor one that passed over more, as what it found first was gone meanwhile.
    expect(step({ from: 0, at: 4 })).toBe('accepted');
    expect(stored()).toBe(2);
    expect(owed()).toEqual([{ run: 7, next: 5, end: 10 }]);
  });

  it('behind one that was refused is refused', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    expect(step({ from: 3, at: 3 })).toBe('queue-full');
    expect([stored(), ...owed()]).toEqual([0, { run: 7, next: 0, end: 10 }]);
  });

  it('that is the last one ends the replay', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    expect(step({ at: 4, from: 0, next: 10 })).toBe('accepted');
    expect(step({ at: 4, from: 0, next: 10 })).toBe('stale-owner');
    expect([stored(), ...owed()]).toEqual([1, undefined]);
  });

  it('of another owner, another run, or behind the end is refused', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    expect(step({ ownerEpoch: 0 })).toBe('stale-owner');
    expect(step({ run: 6 })).toBe('stale-owner');
    expect(step({ from: 0, at: 10 })).toBe('queue-full');
    owes('b', { run: 8, next: 0, end: 0 });
    expect(step({ run: 8 })).toBe('queue-full');
    rig.claim(1);
    expect(step({})).toBe('stale-owner');
    expect(stored()).toBe(0);
    const replay = { ownerEpoch: 1, run: 7, from: 0, at: 0, next: 1, room: 1 };
    const options = { ...PLAIN, replay };
    const elsewhere = sender.send([9 as QueueId], 100, { options });
    expect(sender.outcome(elsewhere)).toBe('stale-owner');
  });

  it('waits for room, and pushes nothing out', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    sender.fill(rig.queueId, 2);
    expect(step({ room: 2 })).toBe('queue-full');
    rig.driver.settle(rig.queueId, 1);
    expect(step({ room: 2 })).toBe('accepted');
    rig.claim(1, { limits: { ...LIMITS, maxMessages: 2 } });
    expect(step({ ownerEpoch: 2, at: 1 })).toBe('queue-full');
    rig.claim(2, { limits: { ...LIMITS, maxBytes: 299 } });
    expect(step({ ownerEpoch: 3, at: 1 })).toBe('queue-full');
    rig.claim(3, { limits: { ...LIMITS, maxBytes: 300 } });
    expect(step({ ownerEpoch: 4, at: 1 })).toBe('accepted');
    rig.claim(4, { limits: { ...LIMITS, maxBytes: 99 } });
    expect(step({ ownerEpoch: 5, at: 2 })).toBe('too-large');
    expect(rig.driver.groups(rig.queueId)[0]).toMatchObject({ floor: 0, depth: 3 });
  });

  it('lives no longer than what is left of it', () => {
    owes('a', { run: 7, next: 0, end: 10 });
    expect(step({}, { ttlMs: 1_000 })).toBe('accepted');
    rig.driver.now += 1_200;
    rig.fire();
    expect(rig.driver.groups(rig.queueId)[0]).toMatchObject({ depth: 0 });
  });
});

describe('what a subscription owes', () => {
  const replay = { run: 7, next: 0, end: 10 };

  it('goes with it, and goes on in the one that replaces it', () => {
    owes('a', replay);
    change([subscription('a', { qos: 2 })]);
    expect(owed()).toEqual([replay]);
  });

  it.each([
    ['UNSUBSCRIBE', () => change([], ['a'])],
    ['UNSUBSCRIBE and SUBSCRIBE', () => change([subscription('a')], ['a'])],
    ['QoS 0', () => change([subscription('a', { qos: 0 })])],
    ['another SUBSCRIBE that wants them', () => owes('a', { run: 8, next: 0, end: 0 })],
    ['a clean start', () => rig.claim(1, { cleanStart: true })],
  ])('is over with %s', (_what, end) => {
    owes('a', replay);
    end();
    expect(step({})).toBe('stale-owner');
    expect(stored()).toBe(0);
  });

  it('has its end by a command, once, and never goes back', () => {
    owes('a', { run: 7, next: 0, end: 0 });
    const move = (to: StoredReplay) =>
      rig.run('replay-session', 1, { replays: [{ filter: 'a', ...to }] });
    expect(move({ run: 6, next: 0, end: 5 })).toMatchObject({ kind: 'session-done' });
    expect(move(replay)).toMatchObject({ kind: 'session-done' });
    expect(step({ at: 3, from: 0 })).toBe('accepted');
    expect(move({ ...replay, end: 20 })).toMatchObject({ kind: 'session-done' });
    expect(rig.run('replay-session', 0, { replays: [] })).toMatchObject({ reason: 'stale-owner' });
    expect(owed()).toEqual([{ run: 7, next: 4, end: 10 }]);
  });

  it('may be nothing, or be done without another message', () => {
    owes('a', { run: 7, next: 0, end: 0 });
    owes('b', { run: 8, next: 0, end: 10 });
    const of = { ...replay, run: 8, next: 10 };
    const replays = [
      { filter: 'a', run: 7, next: 0, end: 0 },
      { filter: 'b', ...of },
      { filter: 'c', ...of },
    ];
    rig.run('replay-session', 1, { replays });
    expect(owed()).toEqual([undefined, undefined]);
  });
});
