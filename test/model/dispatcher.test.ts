import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { QueueType } from '../../src/machine/definitions.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { DispatcherRunner, VISIBILITY } from './dispatcher-runner.ts';

const GROUPS = ['default', 'a', 'b', undefined];
const FILTERS = ['', '', 'x/#', '+/1'];
const TOPICS = ['$queue/orders/x/1', '$queue/orders/y/1', '$queue/orders/x/2', '$queue/orders'];

const step = fc.record({
  do: fc.oneof(
    { weight: 6, arbitrary: fc.constant('publish') },
    { weight: 4, arbitrary: fc.constant('attach') },
    { weight: 2, arbitrary: fc.constant('close') },
    { weight: 5, arbitrary: fc.constant('grant') },
    { weight: 10, arbitrary: fc.constant('settle') },
    { weight: 6, arbitrary: fc.constant('ask') },
    { weight: 8, arbitrary: fc.constant('serve') },
    { weight: 8, arbitrary: fc.constant('apply') },
    { weight: 6, arbitrary: fc.constant('turn') },
    { weight: 4, arbitrary: fc.constant('wait') },
    { weight: 1, arbitrary: fc.constantFrom('seek', 'purge', 'delete', 'lose', 'retain', 'shut') },
  ),
  n: fc.nat(),
  m: fc.nat(),
});
type Step = { readonly do: string; readonly n: number; readonly m: number };
const kinds = fc.record({
  type: fc.constantFrom<QueueType>('classic', 'stream'),
  defaultGroup: fc.constantFrom('shared', 'client'),
  singleActiveConsumer: fc.boolean(),
  maxPriority: fc.constantFrom(0, 5),
});
const steps = fc.array(step, { minLength: 200, maxLength: 200, size: 'max' });

function pick<T>(list: readonly T[], n: number): T {
  return list[n % list.length] as T;
}

/** A place in a queue: rarely far, so that something is left of it. */
function positionOf(runner: DispatcherRunner, n: number) {
  const offset = n % (runner.messages.length + 1);
  const places = [{ kind: 'first' }, { kind: 'next' }, { kind: 'last' }] as const;
  return n % 3 === 0 ? pick(places, n) : ({ kind: 'offset', offset } as const);
}

async function doStep(runner: DispatcherRunner, { do: what, n, m }: Step) {
  const open = [...runner.clients.values()].filter(({ isOver }) => !isOver);
  const client = open.length === 0 ? undefined : pick(open, n);
  const hold = runner.deliveries.at(-1 - (n % 12));
  const groups = runner.driver.groups(runner.queueId);
  const { queueId } = runner;
  switch (what) {
    case 'publish': {
      const expirySeconds = m % 5 === 0 ? 1 + (m % 3) : undefined;
      runner.publish(pick(TOPICS, n), { expirySeconds, priority: m % 7 });
      return;
    }
    case 'attach':
      if (open.length > 8) return;
      runner.attach({
        group: pick(GROUPS, n),
        filter: pick(FILTERS, m),
        start: m % 6 === 0 ? positionOf(runner, n) : undefined,
        credit: n % 6,
        manual: m % 2 === 0,
        clientId: pick(['c-1', 'c-2', 'd', ''], m),
      });
      return;
    case 'close':
      if (client !== undefined) runner.close(client, n % 2 === 0 ? 'lost' : 'returned');
      return;
    case 'grant':
      if (client !== undefined) runner.grant(client, 1 + (m % 4));
      return;
    case 'settle':
      if (hold === undefined) return;
      runner.settle(hold, pick(['complete', 'complete', 'requeue', 'discard'], m));
      return;
    case 'ask': {
      if (hold === undefined) return;
      const name = groups.find(({ groupId }) => groupId === hold.groupId)?.name ?? 'gone';
      const outcomes = ['complete', 'requeue', 'discard', 'commit', 'extend'] as const;
      runner.ask(m % 9 === 0 ? pick(['a', 'nobody'], n) : name, hold, pick(outcomes, m));
      return;
    }
    case 'serve':
      runner.serve();
      return;
    case 'apply':
      for (let left = 1 + (n % 4); left > 0; left -= 1) runner.applyNext();
      return;
    case 'turn':
      await Promise.resolve();
      return;
    case 'wait':
      runner.driver.now += n % 600;
      runner.fireTimers();
      return;
    case 'lose':
      if (runner.messages.length > 0) runner.lost.add(n % runner.messages.length);
      return;
    case 'shut':
      runner.open = !runner.open;
      return;
    case 'retain':
      if (runner.type !== 'stream') return;
      runner.run({ kind: 'retain', queueId, start: (n % (runner.messages.length + 1)) as Offset });
      return;
    default:
  }
  if (groups.length === 0) return;
  const { groupId, floor } = pick(groups, n);
  const range = { from: floor, to: (floor + 1 + (m % 6)) as Offset };
  if (what === 'seek') {
    runner.run({ kind: 'seek-group', queueId, groupId, position: positionOf(runner, m) });
  } else if (what === 'purge') {
    runner.run({ kind: 'settle-range', queueId, groupId, ...range, cause: 'purged' });
  } else if (what === 'delete' && m % 3 === 0) {
    runner.run({ kind: 'delete-group', queueId, groupId });
  }
}

/** Everybody leaves; then one good consumer for each group must get all that is left. */
async function drain(runner: DispatcherRunner): Promise<void> {
  runner.open = true;
  runner.lost.clear();
  await runner.rest();
  expect([...runner.asked.values()]).toEqual([]);
  for (const client of runner.clients.values()) if (!client.isOver) runner.close(client, 'lost');
  await runner.rest();
  // What was withheld is not tried again by the same policy: it is got rid of.
  const { queueId } = runner;
  for (const { groupId, name } of runner.driver.groups(queueId)) {
    const activity = runner.dispatcher.activity({ queueId, groupId });
    if ((activity?.withheld ?? 0) > 0) {
      const range = { from: 0 as Offset, to: runner.messages.length as Offset };
      runner.run({ kind: 'settle-range', queueId, groupId, ...range, cause: 'purged' });
    }
    const [group, filter = ''] = name.split('@');
    const base = { group, filter, start: undefined, manual: false, clientId: 'good' };
    runner.attach({ ...base, credit: 1_000_000 });
  }
  let settled = runner.deliveries.length;
  for (let round = 0; round < 40; round += 1) {
    await runner.rest();
    while (settled < runner.deliveries.length) {
      runner.settle(runner.deliveries[settled] as (typeof runner.deliveries)[0], 'complete');
      settled += 1;
    }
    runner.driver.now += VISIBILITY / 4;
  }
  for (const { groupId, depth } of runner.driver.groups(queueId)) {
    expect(depth).toBe(0);
    const activity = runner.dispatcher.activity({ queueId, groupId });
    expect(activity).toMatchObject({ delivered: 0, waiting: 0, stuck: undefined });
  }
}

describe('a dispatcher over a machine', () => {
  it(
    'keeps what it promises over 20,000 steps, and good consumers always empty their groups',
    { timeout: 300_000 },
    async () => {
      const answers = new Map<string, number>();
      await fc.assert(
        fc.asyncProperty(kinds, steps, async ({ type, ...limits }, list) => {
          const runner = new DispatcherRunner(type, limits);
          for (const each of list) await doStep(runner, each);
          await drain(runner);
          for (const [answer, count] of runner.answered) {
            answers.set(answer, (answers.get(answer) ?? 0) + count);
          }
        }),
        { numRuns: 100, interruptAfterTimeLimit: 240_000 },
      );
      for (const answer of ['done', 'already', 'stale', 'no-group']) {
        expect(answers.get(answer) ?? 0).toBeGreaterThan(10);
      }
    },
  );
});
