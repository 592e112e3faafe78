/** Routes that hear by name what changed are those of who looks through all. */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { QueueRoutes } from '../../src/broker/queue-routes.ts';
import type { QueueId, QueueInfo } from '../../src/broker/ports.ts';
import { DirectoryOfAll } from '../../src/shard/directory-of-all.ts';
import { QueueTable } from '../../src/shard/queue-table.ts';

const TOPICS = ['a', 'a/b', 'c', '$queue/q1/x', '$queue/q2'];
const FILTERS = ['a', 'a/#', '+', '#', '$queue/+/x', '$queue/q1/#', '$queue/q2/#'];

const step = fc.record({
  shard: fc.constantFrom(0, 1),
  name: fc.constantFrom('q1', 'q2', '$session/s1', '$session/s2'),
  filters: fc.subarray(FILTERS),
  kind: fc.constantFrom('set', 'set', 'set', 'gone', 'all again', 'read'),
});

function infoOf(queueId: QueueId, name: string, topics: readonly string[]): QueueInfo {
  const type = name.startsWith('$') ? 'session' : 'classic';
  return { queueId, name, topics, type, defaultGroup: 'shared', capture: 'sync' };
}

describe('what changed among the queues', () => {
  it('is told by name, and leads to the routes of who looks through all', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const tables = [new QueueTable(), new QueueTable()];
        const of = (queueId: QueueId) => ({ queues: tables[queueId > 100 ? 1 : 0] as QueueTable });
        const all = tables.map((queues) => ({ queues }));
        const routes = new QueueRoutes(new DirectoryOfAll({ all, of }));
        for (const table of tables) table.take({ queues: [], gone: [], complete: true });
        for (const { shard, name, filters, kind } of steps) {
          const table = tables[shard] as QueueTable;
          const queueId = (shard * 100 + name.length + name.charCodeAt(name.length - 1)) as QueueId;
          const queues = [infoOf(queueId, name, filters)];
          if (kind === 'set') table.take({ queues, gone: [], complete: true });
          if (kind === 'gone') table.take({ queues: [], gone: [queueId], complete: true });
          if (kind === 'all again') {
            table.restart();
            table.take({ queues, gone: [], complete: true });
          }
          if (kind === 'read') routes.changed();
        }
        routes.changed();
        // Another reader of the same tables looks through all of them.
        const fresh = new DirectoryOfAll({ all, of });
        const { patterned } = fresh;
        const named = (name: string): QueueInfo | undefined => fresh.named(name);
        const looked = { patterned, named, takeChanged: () => undefined };
        const whole = new QueueRoutes(looked as unknown as DirectoryOfAll);
        whole.changed();
        for (const topic of TOPICS) {
          const by = (each: QueueRoutes): unknown =>
            topic.startsWith('$') ? each.route(topic) : each.capturing(topic);
          expect(sorted(by(routes))).toEqual(sorted(by(whole)));
        }
      }),
      { numRuns: 400 },
    );
  });

  it('is to be looked through again where it is too much to be told', () => {
    const table = new QueueTable();
    expect(table.takeChanged()).toBeUndefined();
    const many = Array.from({ length: 65_537 }, (_, at) =>
      infoOf((at + 1) as QueueId, `$session/${at}`, [`a/${at}`]),
    );
    table.take({ queues: many.slice(0, 2), gone: [], complete: true });
    expect(table.takeChanged()).toEqual(['$session/0', '$session/1']);
    expect(table.takeChanged()).toEqual([]);
    table.take({ queues: [], gone: [1 as QueueId], complete: true });
    expect(table.takeChanged()).toEqual(['$session/0']);
    expect([table.count, table.sessionCount]).toEqual([1, 1]);
    table.take({ queues: many, gone: [], complete: true });
    table.take({ queues: [infoOf(2 as QueueId, '$session/1', [])], gone: [], complete: true });
    expect(table.takeChanged()).toBeUndefined();
    expect(table.takeChanged()).toEqual([]);
    expect(table.sessionCount).toBe(65_537);
  });
});

function sorted(route: unknown): unknown {
  return JSON.parse(
    JSON.stringify(route, (_, value: unknown) =>
      Array.isArray(value) ? value.toSorted((a, b) => Number(a) - Number(b)) : value,
    ),
  );
}
