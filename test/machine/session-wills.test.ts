/** Wills of durable sessions in the machine: MQTT 5.0 section 3.1.2.5 and 3.1.3.2.2. */

import { expect, it } from 'vitest';
import { NEVER_EXPIRES } from '../../src/machine/session-record.ts';
import { WILLS_DUE_MAX } from '../../src/machine/session-will.ts';
import { Rig } from './session-rig.ts';

const message = Buffer.from('will');

function will(delaySeconds: number): object {
  return { will: { delaySeconds, message } };
}

/** What a command says but its answer. */
function willsOf(rig: Rig, command: object): unknown[] {
  return (rig.driver.run(command as never) as { kind: string; number?: number }[])
    .filter(({ kind }) => kind === 'session-will')
    .map(({ number }) => number);
}

function leave(rig: Rig, ownerEpoch: number, set: object = {}): unknown[] {
  const of = { queueId: rig.queueId, ownerEpoch, expirySeconds: undefined, isInPeace: false };
  return willsOf(rig, { kind: 'leave-session', ...of, ...set });
}

function fired(rig: Rig, ms: number): unknown[] {
  rig.driver.now += ms;
  return (rig.fire() as { kind: string; number?: number }[]).map(({ kind, number }) =>
    kind === 'session-will' ? number : kind,
  );
}

it('is due when the connection is lost, and told of until it is published, also after a restart', () => {
  const rig = new Rig();
  rig.claim(0, { ...will(0), expirySeconds: NEVER_EXPIRES });
  expect(leave(rig, 1)).toEqual([1]);
  expect(fired(rig, 30_000)).toEqual([]);
  rig.driver.restart();
  expect(fired(rig, 31_000)).toEqual([1]);
  expect(fired(rig, 61_000)).toEqual([1]);
  const done = { kind: 'session-done' };
  const published = { kind: 'end-will', queueId: rig.queueId, number: 1 };
  expect(rig.last(published)).toMatchObject(done);
  expect(rig.last(published)).toMatchObject(done);
  expect(fired(rig, 200_000)).toEqual([]);
  expect(rig.driver.dump().filter(([key]) => key.startsWith('mqtt-will'))).toEqual([]);
});

it('waits for its delay, or for the end of the session where that comes first', () => {
  const rig = new Rig();
  rig.claim(0, { ...will(10), expirySeconds: 60 });
  expect(leave(rig, 1)).toEqual([]);
  expect(fired(rig, 9_900)).toEqual([]);
  expect(fired(rig, 200)).toEqual([1]);
  rig.claim(1, { ...will(100), expirySeconds: 5 });
  expect(leave(rig, 2)).toEqual([]);
  // The session is over by then, and stays until both are published.
  expect(fired(rig, 5_200)).toEqual([1, 2]);
  expect(rig.run('delete-session', 2)).toMatchObject({ reason: 'not-ended' });
  rig.last({ kind: 'end-will', queueId: rig.queueId, number: 2 });
  const last = rig.last({ kind: 'end-will', queueId: rig.queueId, number: 1 });
  expect(last).toMatchObject({ kind: 'session-ended', ownerEpoch: 2 });
  expect(rig.run('delete-session', 2)).toMatchObject({ kind: 'session-done' });
});

it('is gone with a DISCONNECT of 0x00 [MQTT-3.14.4-3], and when its client is back in time', () => {
  const rig = new Rig();
  rig.claim(0, will(0));
  expect(leave(rig, 1, { isInPeace: true })).toEqual([]);
  rig.claim(1, will(10));
  expect(leave(rig, 2)).toEqual([]);
  rig.driver.now += 5_000;
  expect(rig.claim(2)).toMatchObject({ kind: 'session-claimed', present: true });
  expect(fired(rig, 120_000)).toEqual([]);
  expect(rig.driver.dump().filter(([key]) => key.startsWith('mqtt-will'))).toEqual([]);
});

it('is not due while an owner who was missed is there after all', () => {
  const rig = new Rig();
  rig.claim(0, will(10));
  leave(rig, 1);
  rig.run('resume-session', 1);
  expect(fired(rig, 120_000)).toEqual([]);
  expect(leave(rig, 1)).toEqual([]);
  expect(fired(rig, 10_200)).toEqual([1]);
});

it('is due at a takeover that ends its session, or without a delay [MQTT-3.1.4-3]', () => {
  const rig = new Rig();
  const numbers = (epoch: number, set: object): unknown[] => {
    const of = { queueId: rig.queueId, epoch, token: `x${epoch}`, incarnation: `y${epoch}` };
    const limits = { maxMessages: 0, maxBytes: 0, overflow: 'drop-head' };
    const life = { cleanStart: false, user: undefined, expirySeconds: 60, limits };
    return willsOf(rig, { kind: 'claim-session', ...of, ...life, ...set });
  };
  expect(numbers(0, will(0))).toEqual([]);
  expect(numbers(1, will(10))).toEqual([1]);
  expect(numbers(2, will(10))).toEqual([]);
  expect(numbers(3, { ...will(10), cleanStart: true })).toEqual([3]);
});

it('refuses a claim that would add one to as many as may be due', () => {
  const rig = new Rig();
  for (let epoch = 0; epoch <= WILLS_DUE_MAX; epoch++) {
    expect(rig.claim(epoch, will(0))).toMatchObject({ kind: 'session-claimed' });
  }
  const refused = { kind: 'session-refused', reason: 'too-many-wills' };
  expect(rig.claim(WILLS_DUE_MAX + 1)).toMatchObject(refused);
  rig.last({ kind: 'end-will', queueId: rig.queueId, number: 1 });
  expect(rig.claim(WILLS_DUE_MAX + 1)).toMatchObject({ kind: 'session-claimed' });
});

it('goes with the queue of the session', () => {
  const rig = new Rig();
  rig.claim(0, will(10));
  leave(rig, 1);
  rig.last({ kind: 'delete-queue', queueId: rig.queueId });
  expect(rig.driver.dump().filter(([key]) => key.startsWith('mqtt'))).toEqual([]);
  expect(fired(rig, 120_000)).toEqual([]);
});
