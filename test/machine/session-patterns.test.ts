/** Shares of durable sessions, as the definitions of their queues tell them to all nodes. */

import { describe, expect, it } from 'vitest';
import type { StoredSubscription } from '../../src/machine/session-record.ts';
import { Rig } from './session-rig.ts';

function subscription(filter: string, set: Partial<StoredSubscription> = {}): StoredSubscription {
  const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
  return { filter, qos: 1, ...plain, retainHandling: 0, ...set };
}

const SHARE = subscription('$share/g/a/#', { isRouted: true });
const PLAIN = subscription('b');

/** A session of the epoch 1 that is in a share, and captures something. */
function member(): Rig {
  const rig = new Rig();
  rig.claim(0);
  rig.run('change-session', 1, { subscribe: [SHARE, PLAIN], unsubscribe: [] });
  return rig;
}

const OWNED = ['$share/g/a/#', 'b'];
const ASLEEP = [...OWNED, '$share/asleep'];

describe('the patterns of a session that is a member of shares', () => {
  it('name the shares that are routed, and no others', () => {
    const rig = member();
    const old = subscription('$share/old/a');
    const qos0 = subscription('$share/zero/a', { qos: 0 });
    rig.run('change-session', 1, { subscribe: [old, qos0], unsubscribe: ['b'] });
    expect(rig.topics).toEqual(['$share/g/a/#']);
    const again = { ...SHARE, qos: 0, isRouted: undefined };
    rig.run('change-session', 1, { subscribe: [again], unsubscribe: [] });
    expect(rig.topics).toEqual([]);
  });

  it('say that nobody has it, from when it is left until somebody claims it', () => {
    const rig = member();
    expect(rig.topics).toEqual(OWNED);
    const left = rig.driver.run({
      kind: 'leave-session',
      queueId: rig.queueId,
      ownerEpoch: 1,
      expirySeconds: 60,
      isInPeace: true,
    });
    expect(left).toMatchObject([
      { kind: 'session-redefined', definition: { topics: ASLEEP } },
      { kind: 'session-done' },
    ]);
    rig.driver.restart();
    expect(rig.topics).toEqual(ASLEEP);
    rig.claim(1);
    expect(rig.topics).toEqual(OWNED);
  });

  it('say so of one whose node is gone, until its owner is there after all', () => {
    const rig = member();
    rig.run('leave-session', 1, { expirySeconds: undefined });
    expect(rig.topics).toEqual(ASLEEP);
    rig.run('change-session', 1, { subscribe: [], unsubscribe: ['b'] });
    expect(rig.topics).toEqual(['$share/g/a/#', '$share/asleep']);
    rig.run('resume-session', 1);
    expect(rig.topics).toEqual(['$share/g/a/#']);
  });

  it('are without shares once it has ended, whether anybody is told of it or not', () => {
    const rig = member();
    rig.run('leave-session', 1, { expirySeconds: 10, isInPeace: true });
    rig.driver.now += 10_000;
    expect(rig.fire()).toMatchObject([
      { kind: 'session-redefined', definition: { topics: ['b'] } },
      { kind: 'session-ended' },
    ]);
    const other = member();
    other.run('leave-session', 1, { expirySeconds: 0, isInPeace: true });
    expect(other.topics).toEqual(['b']);
    other.claim(1);
    expect(other.topics).toEqual([]);
  });

  it('are without shares also where its will has to be published before it goes', () => {
    const rig = new Rig();
    rig.claim(0, { will: { delaySeconds: 10, message: new Uint8Array([1]) } });
    rig.run('change-session', 1, { subscribe: [SHARE], unsubscribe: [] });
    rig.run('leave-session', 1, { expirySeconds: 10, isInPeace: false });
    expect(rig.topics).toEqual(['$share/g/a/#', '$share/asleep']);
    rig.driver.now += 10_000;
    const kinds = rig.fire().map(({ kind }) => kind);
    expect(kinds).toContain('session-will');
    expect(kinds).not.toContain('session-ended');
    expect(rig.topics).toEqual([]);
    // Its owner comes after all.
    rig.run('resume-session', 1);
    expect(rig.topics).toEqual(['$share/g/a/#']);
  });

  it('cost one who is in no share nothing when it comes and goes', () => {
    const rig = new Rig();
    rig.claim(0);
    rig.run('change-session', 1, { subscribe: [PLAIN], unsubscribe: [] });
    const { definitionsVersion } = rig.driver.machine;
    rig.run('leave-session', 1, { expirySeconds: 60, isInPeace: true });
    rig.run('resume-session', 1);
    rig.claim(1);
    expect(rig.driver.machine.definitionsVersion).toBe(definitionsVersion);
    expect(rig.topics).toEqual(['b']);
  });
});
