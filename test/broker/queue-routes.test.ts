import { describe, expect, test } from 'vitest';

import type { QueueId, QueueInfo } from '../../src/broker/ports.ts';
import { QueueRoutes } from '../../src/broker/queue-routes.ts';

let nextId = 1;

function queue(name: string, ...topics: string[]): QueueInfo {
  const queueId = nextId++ as QueueId;
  const set = { type: 'classic', defaultGroup: 'shared', capture: 'sync' } as const;
  return { queueId, name, topics: topics.length > 0 ? topics : [`$queue/${name}/#`], ...set };
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

  test('says what changed: nothing, queues, or captures too', () => {
    const routes = new QueueRoutes();
    expect(routes.set([a, b])).toBe('queues');
    expect(routes.set([a, b])).toBe('nothing');
    expect(routes.set([{ ...a }, { ...b, topics: [...b.topics] }])).toBe('nothing');
    expect(routes.set([a, b, c])).toBe('captures');
    expect(routes.set([a, b, { ...c, capture: 'async' }])).toBe('captures');
    expect(routes.set([a, b, d])).toBe('captures');
    expect(routes.set([a, d])).toBe('queues');
    expect(routes.set([])).toBe('queues');
    expect(routes.count).toBe(0);
  });

  test('after any row of changes the routes are those of the last list alone', () => {
    const routes = new QueueRoutes();
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
      routes.set(list);
      const has = (name: string): boolean => list.some((each) => each.name === name);
      expect(routes.count).toBe(list.length);
      for (const { name } of [a, b, c, d]) {
        expect(routes.named(name)).toEqual(list.find((each) => each.name === name));
      }
      expect(named(routes, '$queue/a/x', list)).toEqual(has('a') ? ['a'] : []);
      const eu = ['a', 'b'].filter((name) => has(name));
      expect(named(routes, '$queue/a/eu', list)).toEqual(eu);
      expect(named(routes, 'm/1', list)).toEqual(has('c') ? ['c'] : []);
    }
  });

  test('a queue with the same pattern twice is forgotten wholly', () => {
    const routes = new QueueRoutes();
    const twice = queue('t', 'm/#', 'm/#');
    routes.set([twice]);
    expect(routes.set([])).toBe('captures');
    expect(routes.capturing('m/1')).toEqual({ awaited: [], unawaited: [] });
    expect(routes.set([a])).toBe('queues');
  });

  test('what did not change is not looked at, so that one among many costs what one costs', () => {
    const routes = new QueueRoutes();
    let looks = 0;
    const watched = (at: number): QueueInfo => {
      const info = queue(`q${at}`);
      const handler = {
        get: (target: QueueInfo, key: keyof QueueInfo): unknown => {
          looks++;
          return target[key];
        },
      };
      return new Proxy(info, handler);
    };
    const many = Array.from({ length: 1000 }, (_, at) => watched(at));
    routes.set(many);
    looks = 0;
    routes.set([...many, a]);
    routes.set([...many.slice(0, 500), b, ...many.slice(500), a]);
    routes.set([...many.slice(0, 500), ...many.slice(501), a]);
    expect(looks).toBeLessThan(20);
    expect(routes.count).toBe(1000);
    expect(routes.named('q500')).toBeUndefined();
  });
});
