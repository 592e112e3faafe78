/** Members of shares that a QoS 2 publish of a session was given to, kept with its key. */

import { describe, expect, it } from 'vitest';
import type { QueueId } from '../../src/machine/ids.ts';
import { KeptChoices, type ShareChoice } from '../../src/machine/share-choices.ts';
import { PLAIN, Sender } from './machine-driver.ts';
import { Rig } from './session-rig.ts';

function choice(share: number, queueId: number): ShareChoice {
  return { share, queueId: queueId as QueueId };
}

function choose(rig: Rig, epoch: number, set: object = {}): object | undefined {
  const asked = { packetId: 7, token: 1, choices: [choice(1, 10)], isInstead: false };
  return rig.run('choose-session', epoch, { ...asked, ...set });
}

function release(rig: Rig, sender: Sender, ownerEpoch = 1): void {
  sender.number += 1;
  const place = { node: sender.node, boot: sender.boot, answeredUpTo: 0, number: sender.number };
  rig.driver.run({ kind: 'release', ...place, key: { session: 'i1', ownerEpoch, packetId: 7 } });
}

describe('the members of shares that a publish is given to', () => {
  it('are those of the first attempt, until the release of its key', () => {
    const rig = new Rig();
    rig.claim(0);
    const sender = new Sender(rig.driver);
    const first = { kind: 'session-chosen', choices: [choice(1, 10)] };
    expect(choose(rig, 1)).toMatchObject({ ...first, isNew: true });
    rig.driver.restart();
    const other = { token: 2, choices: [choice(1, 11), choice(2, 12)] };
    expect(choose(rig, 1, other)).toMatchObject({ ...first, isNew: false });
    // By the next owner, on another node.
    rig.claim(1);
    expect(choose(rig, 2, other)).toMatchObject({ ...first, isNew: false });
    expect(choose(rig, 2, { ...other, packetId: 8 })).toMatchObject({ isNew: true });
    expect(choose(rig, 1, other)).toMatchObject({ reason: 'stale-owner' });
    release(rig, sender, 2);
    expect(choose(rig, 2, other)).toMatchObject({ isNew: true, choices: other.choices });
  });

  it('are new to the same attempt however often the log has it', () => {
    const rig = new Rig();
    rig.claim(0);
    expect(choose(rig, 1)).toMatchObject({ isNew: true });
    expect(choose(rig, 1)).toMatchObject({ isNew: true, choices: [choice(1, 10)] });
  });

  it('are nobody for good where nobody was chosen', () => {
    const rig = new Rig();
    rig.claim(0);
    expect(choose(rig, 1, { choices: [] })).toMatchObject({ isNew: true, choices: [] });
    rig.driver.restart();
    expect(choose(rig, 1, { token: 2 })).toMatchObject({ isNew: false, choices: [] });
  });

  it('change where one is gone, and only there', () => {
    const rig = new Rig();
    rig.claim(0);
    choose(rig, 1, { choices: [choice(1, 10), choice(2, 20)] });
    const instead = { token: 2, choices: [choice(2, 21)], isInstead: true };
    const now = [choice(1, 10), choice(2, 21)];
    expect(choose(rig, 1, instead)).toMatchObject({ isNew: false, choices: now });
    rig.driver.restart();
    expect(choose(rig, 1, { token: 3 })).toMatchObject({ isNew: false, choices: now });
  });

  it('do not take the key: the publish is stored behind them, once', () => {
    const rig = new Rig();
    rig.claim(0);
    const sender = new Sender(rig.driver);
    const queue = rig.driver.declare('a');
    const key = { session: 'i1', ownerEpoch: 1, packetId: 7 };
    const publish = () => sender.send([queue], 10, { options: { ...PLAIN, key } })[0]?.kind;
    choose(rig, 1);
    expect(publish()).toBe('enqueued');
    expect(publish()).toBe('confirmed');
    expect(choose(rig, 1, { token: 2 })).toMatchObject({ isNew: false, choices: [choice(1, 10)] });
  });

  it('are none where the publish was stored before anybody was chosen', () => {
    const rig = new Rig();
    rig.claim(0);
    rig.run('receive-session', 1, { packetId: 7 });
    expect(choose(rig, 1)).toMatchObject({ isNew: false, choices: [] });
    const sender = new Sender(rig.driver);
    release(rig, sender);
    expect(choose(rig, 1)).toMatchObject({ isNew: true });
  });

  it('go with the session', () => {
    const rig = new Rig();
    rig.claim(0);
    choose(rig, 1);
    rig.claim(1, { cleanStart: true, incarnation: 'i1' });
    expect(choose(rig, 2, { token: 2 })).toMatchObject({ isNew: true });
    rig.run('leave-session', 2, { expirySeconds: 0, isInPeace: true });
    rig.run('delete-session', 2);
    expect(rig.driver.dump().filter(([name]) => name.startsWith('session'))).toEqual([]);
  });

  it('are bounded for one publish, and for a session', () => {
    const rig = new Rig();
    rig.claim(0);
    const many = (count: number) => Array.from({ length: count }, (_, at) => choice(at, at + 1));
    const refused = { kind: 'session-refused', reason: 'too-many-choices' };
    expect(choose(rig, 1, { choices: many(1_025) })).toMatchObject(refused);
    expect(choose(rig, 1, { choices: many(1_024) })).toMatchObject({ isNew: true });
    const more = { choices: [choice(5_000, 1)], isInstead: true };
    expect(choose(rig, 1, more)).toMatchObject(refused);
    const kept = new KeptChoices();
    const asked = { token: 1, choices: many(1_023), isInstead: false };
    for (let packetId = 0; packetId < 128; packetId += 1) {
      expect(kept.choose(packetId, asked)).toMatchObject({ isNew: true });
    }
    expect(kept.units).toBe(131_072);
    expect(kept.choose(128, { ...asked, choices: [] })).toBe(undefined);
    expect(kept.choose(5, asked)).toMatchObject({ isNew: true });
    expect(KeptChoices.fromData(kept.toData()).units).toBe(131_072);
    kept.delete(0);
    expect(kept.choose(128, asked)).toMatchObject({ isNew: true });
  });
});
