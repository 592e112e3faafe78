import { describe, expect, test } from 'vitest';

import type { QueueId, QueueInfo } from '../../src/broker/ports.ts';
import { QueueRoutes } from '../../src/broker/queue-routes.ts';
import { QueueList } from '../support/queue-list.ts';

let nextId = 1;

function queue(name: string, ...topics: string[]): QueueInfo {
  const queueId = nextId++ as QueueId;
  const set = { type: 'classic', defaultGroup: 'shared', capture: 'sync' } as const;
  return { queueId, name, topics: topics.length > 0 ? topics : [`$queue/${name}/#`], ...set };
}

/** `set`: the directory has this list from now on. */
function routesOf(): {
  routes: QueueRoutes;
  set: (list: readonly QueueInfo[]) => string;
  directory: QueueList;
} {
  const directory = new QueueList();
  const routes = new QueueRoutes(directory);
  const set = (list: readonly QueueInfo[]): string => {
    directory.list = list;
    return routes.changed();
  };
  return { routes, set, directory };
}

function named(routes: QueueRoutes, topic: string, among: readonly QueueInfo[]): string[] {
  const ids = topic.startsWith('$queue/')
    ? routes.route(topic).queues
    : routes.capturing(topic).awaited;
  return ids.map((id) => among.find(({ queueId }) => queueId === id)?.name ?? '?').sort();
}

describe('a new list of queues', () => {
  const a = queue('a');
  const b = queue('b', '$queue/b/#', '$queue/+/eu');
  const c = queue('c', 'm/#');
  const d = queue('d');

  test('says what changed: queues, or captures too', () => {
    const { set } = routesOf();
    expect(set([a, b])).toBe('queues');
    expect(set([{ ...a }, { ...b, topics: [...b.topics] }])).toBe('queues');
    expect(set([a, b, c])).toBe('captures');
    expect(set([a, b, c, d])).toBe('queues');
    expect(set([a, b, { ...c, capture: 'async' }])).toBe('captures');
    expect(set([a, b, { ...c, capture: 'async' }])).toBe('queues');
    expect(set([a, b, d])).toBe('captures');
    expect(set([a, d])).toBe('queues');
    expect(set([])).toBe('queues');
  });

  test('after any row of changes the routes are those of the last list alone', () => {
    const { routes, set } = routesOf();
    const again = { ...a, queueId: nextId++ as QueueId };
    const lists = [
      [a],
      [again],
      [a, b],
      [b, c, d],
      [d, c],
      [again, d],
      [d, again, b, c],
      [],
      [c],
      [b, a],
    ];
    for (const list of lists) {
      set(list);
      const has = (name: string): boolean => list.some((each) => each.name === name);
      expect(named(routes, '$queue/a/x', list)).toEqual(has('a') ? ['a'] : []);
      const eu = ['a', 'b'].filter((name) => has(name));
      expect(named(routes, '$queue/a/eu', list)).toEqual(eu);
      expect(named(routes, 'm/1', list)).toEqual(has('c') ? ['c'] : []);
    }
  });

  test('a queue with the same pattern twice is forgotten wholly', () => {
    const { routes, set } = routesOf();
    const twice = queue('t', 'm/#', 'm/#');
    set([twice]);
    expect(set([])).toBe('captures');
    expect(routes.capturing('m/1')).toEqual({
      awaited: [],
      awaitedAtQos0: [],
      unawaited: [],
      durableShares: [],
    });
    expect(set([a])).toBe('queues');
  });

  test('what did not change is not looked at, so that one among many costs what one costs', () => {
    const { routes, directory } = routesOf();
    let looks = 0;
    const watched = (at: number): QueueInfo => {
      const info = queue(`q${at}`, `$queue/+/q${at}`);
      const handler = {
        get: (target: QueueInfo, key: keyof QueueInfo): unknown => {
          looks++;
          return target[key];
        },
      };
      return new Proxy(info, handler);
    };
    const set = (list: readonly QueueInfo[]): void => {
      directory.list = list;
      looks = 0;
      routes.changed();
    };
    const many = Array.from({ length: 1000 }, (_, at) => watched(at));
    set(many);
    for (const list of [
      [...many, a],
      [...many.slice(0, 500), b, ...many.slice(500), a],
      [...many.slice(0, 500), ...many.slice(501), a],
    ]) {
      set(list);
      expect(looks).toBeLessThan(20);
    }
  });
});
