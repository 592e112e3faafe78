/** Shares with members in durable sessions, from the patterns of their queues to the routes. */

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { DurableShare } from '../../src/broker/durable-shares.ts';
import type { QueueId, QueueInfo } from '../../src/broker/ports.ts';
import { QueueRoutes } from '../../src/broker/queue-routes.ts';
import { Router } from '../../src/broker/router.ts';
import { SessionRecord } from '../../src/machine/session-record.ts';
import { sessionPatterns } from '../../src/machine/session-patterns.ts';
import { fc } from '../support/properties.ts';
import { QueueList } from '../support/queue-list.ts';

type State = 'owned' | 'asleep' | 'over';

/** The queue of a session as the machine describes it. */
function session(id: number, state: State, ...filters: string[]): QueueInfo {
  const record = new SessionRecord();
  record.endsAt = { owned: 0, asleep: 100, over: 1 }[state];
  record.subscriptions = filters.map((filter) => {
    const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' };
    const isRouted = filter.startsWith('$share/');
    return { filter, qos: 1, ...plain, retainHandling: 0, isRouted };
  });
  const topics = sessionPatterns(record, 50);
  const set = { type: 'session', defaultGroup: 'shared', capture: 'sync' } as const;
  return { queueId: id as QueueId, name: `$session/${id}`, topics, ...set };
}

function routesOf(): { routes: QueueRoutes; set: (...list: QueueInfo[]) => string } {
  const directory = new QueueList();
  const routes = new QueueRoutes(directory);
  const set = (...list: QueueInfo[]): string => {
    directory.list = list;
    return routes.changed();
  };
  return { routes, set };
}

const NOBODY = (): boolean => false;

/** All that are in this state, each asked for once. */
function membersOf(share: DurableShare, state: 'owned' | 'asleep'): number[] {
  const members = Array.from({ length: share.count(state) }, () => Number(share.next(state)));
  return members.sort((a, b) => a - b);
}

function shown(routes: QueueRoutes, topic: string): object {
  const { durableShares, awaited } = routes.capturing(topic);
  const shares = durableShares.map((share) => [
    share.topicFilter,
    { owned: membersOf(share, 'owned'), asleep: membersOf(share, 'asleep') },
  ]);
  return { ...Object.fromEntries(shares), captured: awaited };
}

describe('the durable members of shares', () => {
  it('are told for each share and filter that matches, with whether somebody has the session', () => {
    const { routes, set } = routesOf();
    set(
      session(1, 'owned', '$share/g/m/+', 'x'),
      session(2, 'asleep', '$share/g/m/+', '$share/h/m/#'),
      session(3, 'over', '$share/g/m/+', 'm/#'),
      session(4, 'asleep', 'm/1'),
    );
    expect(shown(routes, 'm/1')).toEqual({
      '$share/g/m/+': { owned: [1], asleep: [2] },
      '$share/h/m/#': { owned: [], asleep: [2] },
      captured: [3, 4],
    });
    expect(shown(routes, 'x')).toEqual({ captured: [1] });
    expect(shown(routes, '$share/g/m/+')).toEqual({ captured: [] });
    expect(shown(routes, 'asleep')).toEqual({ captured: [] });
    const { durableShares } = routes.capturing('m/2');
    expect(durableShares.map(({ name, filter }) => [name, filter])).toEqual(
      expect.arrayContaining([
        ['g', 'm/+'],
        ['h', 'm/#'],
      ]),
    );
  });

  it('are those of sessions alone: other queues capture by what their patterns say', () => {
    const { routes, set } = routesOf();
    const classic = { ...session(1, 'owned', '$share/g/m'), type: 'classic' } as const;
    set(classic);
    expect(shown(routes, 'm')).toEqual({ captured: [] });
    expect(shown(routes, '$share/g/m')).toEqual({ captured: [1] });
  });

  it('fall asleep, wake up, come and go without another route, but for the first and the last', () => {
    const { routes, set } = routesOf();
    expect(set(session(1, 'owned', '$share/g/m', 'x'))).toBe('captures');
    const [share] = routes.capturing('m').durableShares as readonly [DurableShare];
    expect(set(session(1, 'asleep', '$share/g/m', 'x'))).toBe('queues');
    expect([membersOf(share, 'owned'), membersOf(share, 'asleep')]).toEqual([[], [1]]);
    const other = session(2, 'owned', '$share/g/m');
    expect(set(session(1, 'asleep', '$share/g/m', 'x'), other)).toBe('queues');
    expect([share.has(1 as QueueId), share.has(2 as QueueId)]).toEqual([true, true]);
    expect(set(session(1, 'owned', 'x'), other)).toBe('queues');
    expect(share.has(1 as QueueId)).toBe(false);
    expect(routes.capturing('m').durableShares).toEqual([share]);
    expect(set(session(1, 'owned', 'x'))).toBe('captures');
    expect(routes.capturing('m').durableShares).toEqual([]);
    expect(routes.capturing('x').awaited).toEqual([1]);
    // A share that goes with what it captured.
    expect(set(session(1, 'owned', 'y', '$share/g/m'))).toBe('captures');
    expect(set()).toBe('captures');
    expect(shown(routes, 'y')).toEqual({ captured: [] });
  });

  it('are known by their queue: a session that was made anew is another member', () => {
    const { routes, set } = routesOf();
    const name = '$session/c';
    set({ ...session(1, 'owned', '$share/g/m'), name });
    const [share] = routes.capturing('m').durableShares as readonly [DurableShare];
    set({ ...session(2, 'asleep', '$share/g/m'), name });
    expect([share.has(1 as QueueId), share.has(2 as QueueId)]).toEqual([false, true]);
    expect(routes.capturing('m').durableShares).toEqual([share]);
  });

  it('after any row of changes are those of the last list alone', () => {
    const filters = fc.uniqueArray(fc.constantFrom('$share/g/m', '$share/g/+', '$share/h/m', 'm'));
    const one = fc.record({ filters, state: fc.constantFrom<State>('owned', 'asleep', 'over') });
    const lists = fc.array(fc.array(fc.option(one), { minLength: 4, maxLength: 4 }), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(lists, (rows) => {
        const { routes, set } = routesOf();
        for (const row of rows) {
          const list = row.flatMap((each, at) =>
            each === null ? [] : [session(at + 1, each.state, ...each.filters)],
          );
          set(...list);
          const fresh = routesOf();
          fresh.set(...list);
          for (const topic of ['m', 'n']) {
            expect(shown(routes, topic)).toEqual(shown(fresh.routes, topic));
          }
        }
      }),
    );
  });
});

describe('the members of one share', () => {
  const shareOf = (...ids: number[]): DurableShare => {
    const { routes, set } = routesOf();
    set(...ids.map((id) => session(id, 'owned', '$share/g/m')));
    return routes.capturing('m').durableShares[0] as DurableShare;
  };

  it('take turns; one that is passed over has its turn later', () => {
    const share = shareOf(1, 2, 3);
    const next = (isPassedOver = NOBODY as (id: QueueId) => boolean): number | undefined =>
      share.next('owned', isPassedOver);
    expect([next(), next(), next(), next()]).toEqual([1, 2, 3, 1]);
    expect([next((id) => id === 2), next((id) => id === 1), next()]).toEqual([3, 2, 3]);
    expect(next(() => true)).toBe(undefined);
    expect(share.next('asleep')).toBe(undefined);
    share.remove(2 as QueueId);
    expect(new Set([next(), next(), next()])).toEqual(new Set([1, 3]));
  });

  it('are looked at up to a bound for one choice, and the next one begins behind them', () => {
    const share = shareOf(...Array.from({ length: 2_000 }, (_, at) => at + 1));
    let looked = 0;
    const isPassedOver = (id: QueueId): boolean => {
      looked++;
      return id < 1_500;
    };
    expect(share.next('owned', isPassedOver)).toBe(undefined);
    expect(looked).toBe(1_024);
    expect(share.next('owned', isPassedOver)).toBe(1_500);
  });

  it('have a share whose key is the same on all nodes', () => {
    const digest = createHash('sha256').update('g/m').digest('hex');
    expect(shareOf(1).key).toBe(Number.parseInt(digest.slice(0, 12), 16));
  });
});

describe('a route', () => {
  it('names the shares, and stays when only their members change', () => {
    const directory = new QueueList();
    const options = { maxTopicLevels: 8, maxTopicLength: 100, maxRoutes: 10 };
    const router = new Router(directory, options, () => false);
    const set = (...list: QueueInfo[]): void => {
      directory.list = list;
      router.queuesChanged();
    };
    const before = router.route('m');
    expect(before?.shares).toEqual([]);
    set(session(1, 'owned', '$share/g/m'));
    const route = router.route('m');
    const durable = { name: 'g', filter: 'm' };
    expect(route?.shares).toMatchObject([{ local: undefined, durable }]);
    expect(route?.queues).toEqual([]);
    set(session(1, 'asleep', '$share/g/m'));
    expect(router.route('m')).toBe(route);
    expect(router.route('$queue/m')?.shares).toEqual([]);
    set();
    expect(router.route('m')?.shares).toEqual([]);
  });

  it('names a share with members here and in sessions once', () => {
    const directory = new QueueList();
    const options = { maxTopicLevels: 8, maxTopicLength: 100, maxRoutes: 10 };
    const router = new Router(directory, options, () => false);
    const member = { deliver: () => undefined, backlog: () => 0 };
    const plain = { qos: 1, noLocal: false, retainAsPublished: false, identifier: 0 } as const;
    for (const share of ['g', 'h']) router.subscribe(member, 'm', { ...plain, share });
    router.subscribe(member, '+', { ...plain, share: 'g' });
    directory.list = [session(1, 'owned', '$share/g/m', '$share/i/m')];
    router.queuesChanged();
    const found = router
      .route('m')
      ?.shares.map(({ local, durable }) => [local?.topicFilter, durable?.topicFilter]);
    expect(new Set(found?.map((each) => each.join(' ')))).toEqual(
      new Set(['$share/g/m $share/g/m', '$share/h/m ', '$share/g/+ ', ' $share/i/m']),
    );
  });
});
