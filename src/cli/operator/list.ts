/** `fluxmq queue list`: every queue on a line; with `--watch` also how fast messages come. */

import { Command } from 'commander';
import type { AdminClient } from '../../admin/client.ts';
import type { QueueId, QueueSummary } from '../../broker/ports.ts';
import { type Column, table } from '../text/table.ts';
import { count, rate } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { type Frame, type WatchFlags, show, watchOption } from './screen.ts';
import { jsonLine, summaryFields } from './told.ts';

const PAGE = 1_000;

export function listCommand(): Command {
  return addBrokerOptions(new Command('list'))
    .description('All queues, with how much waits in each.')
    .addOption(watchOption())
    .action((flags: BrokerFlags & WatchFlags) =>
      withBroker(flags, async (client) => {
        const list = new List();
        await show(flags, (frame) => list.lines(client, flags, frame));
      }),
    );
}

/** Every queue of the broker, a page after the other. */
export async function* allQueues(client: AdminClient): AsyncGenerator<QueueSummary> {
  let after = '';
  for (;;) {
    const page = await client.list(after, PAGE);
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    after = last.definition.name;
  }
}

class List {
  /** The next offset of each queue in the frame before. */
  #before = new Map<QueueId, number>();

  async lines(
    client: AdminClient,
    { json, watch }: BrokerFlags & WatchFlags,
    { width, elapsedMs }: Frame,
  ): Promise<readonly string[]> {
    const queues: QueueSummary[] = [];
    for await (const queue of allQueues(client)) queues.push(queue);
    if (json === true) {
      const at = watch === undefined ? {} : { at_ms: Date.now() };
      return queues.map((queue) => jsonLine({ ...at, ...summaryFields(queue) }));
    }
    if (queues.length === 0) return ['no queues'];
    const before = this.#before;
    this.#before = new Map(queues.map(({ queueId, next }) => [queueId, next]));
    const columns =
      elapsedMs === undefined ? COLUMNS : [...COLUMNS, arriving(before, elapsedMs / 1000)];
    return table(columns, queues, width);
  }
}

const COLUMNS: readonly Column<QueueSummary>[] = [
  { title: 'QUEUE', cut: true, of: ({ definition }) => definition.name },
  { title: 'TYPE', of: ({ definition }) => definition.type },
  { title: 'DEPTH', right: true, of: ({ depth }) => count(depth) },
  { title: 'CONSUMERS', right: true, of: ({ consumers }) => count(consumers) },
  { title: 'LEAVING', right: true, of: ({ leaving }) => count(leaving) },
  { title: 'FIRST', right: true, of: ({ start }) => String(start) },
  { title: 'NEXT', right: true, of: ({ next }) => String(next) },
];

function arriving(before: ReadonlyMap<QueueId, number>, seconds: number): Column<QueueSummary> {
  return {
    title: 'IN/S',
    right: true,
    of: ({ queueId, next }) => {
      const was = before.get(queueId);
      return was === undefined ? '' : rate((next - was) / seconds);
    },
  };
}
