/** `fluxmq group`: the groups of queues of a running broker. */

import { Command } from 'commander';
import type { AdminClient } from '../admin/client.ts';
import { AdminError, type GroupSummary, type QueueDetail } from '../broker/ports.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './operator/broker.ts';
import { type ConfirmFlags, confirm } from './operator/confirm.ts';
import { GROUP_COLUMNS } from './operator/groups-table.ts';
import { allQueues } from './operator/list.ts';
import { type WatchFlags, print, show, watchOption } from './operator/screen.ts';
import { groupFields, jsonLine } from './operator/told.ts';
import { visible } from './text/columns.ts';
import { type Column, table } from './text/table.ts';
import { several } from './text/units.ts';

export function groupCommand(): Command {
  return new Command('group')
    .description('Look at and delete groups of consumers.')
    .addCommand(listCommand())
    .addCommand(deleteCommand());
}

/** Queues that are asked for at a time; the broker takes a few more requests than that. */
const AT_A_TIME = 8;

interface Row {
  readonly queue: string;
  readonly group: GroupSummary;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'QUEUE', cut: true, of: ({ queue }) => queue },
  ...GROUP_COLUMNS.map((column) => ({ ...column, of: ({ group }: Row) => column.of(group) })),
];

function listCommand(): Command {
  return addBrokerOptions(new Command('list'))
    .description('The groups of one queue, or of all.')
    .argument('[queue]', 'its name')
    .addOption(watchOption())
    .action((queue: string | undefined, flags: BrokerFlags & WatchFlags) =>
      withBroker(flags, (client) =>
        show(flags, async ({ width }) => {
          const rows = await groupsOf(client, queue);
          const at = flags.watch === undefined ? {} : { at_ms: Date.now() };
          if (flags.json === true) {
            return rows.map((row) => jsonLine({ ...at, ...groupFields(row.queue, row.group) }));
          }
          return rows.length === 0 ? ['no groups'] : table(COLUMNS, rows, width);
        }),
      ),
    );
}

async function groupsOf(client: AdminClient, queue: string | undefined): Promise<Row[]> {
  const names: string[] = [];
  if (queue === undefined) {
    for await (const { definition } of allQueues(client)) names.push(definition.name);
  } else names.push(queue);
  const rows: Row[] = [];
  for (let at = 0; at < names.length; at += AT_A_TIME) {
    const some = names.slice(at, at + AT_A_TIME).map((name) => shown(client, name, queue));
    for (const detail of await Promise.all(some)) {
      const name = detail?.definition.name ?? '';
      rows.push(...(detail?.groups ?? []).map((group) => ({ queue: name, group })));
    }
  }
  return rows;
}

/** A queue of a list may be gone by the time it is its turn; one that was named is an error. */
function shown(
  client: AdminClient,
  name: string,
  asked: string | undefined,
): Promise<QueueDetail | undefined> {
  return client.show(name).catch((error: unknown) => {
    if (asked === undefined && error instanceof AdminError && error.code === 'no-queue') {
      return undefined;
    }
    throw error;
  });
}

function deleteCommand(): Command {
  return addBrokerOptions(new Command('delete'))
    .description('Delete a group; what it has not settled waits for the others only.')
    .argument('<queue>', 'its name')
    .argument('<group>', 'which group')
    .option('-y, --yes', 'do not ask')
    .action((queue: string, group: string, flags: BrokerFlags & ConfirmFlags) =>
      withBroker(flags, async (client) => {
        const { groups } = await client.show(queue);
        const { depth = 0, consumers = 0 } = groups.find(({ name }) => name === group) ?? {};
        const what = `${visible(group)} of ${visible(queue)}`;
        const lost = `with ${several(depth, 'unsettled message')}`;
        const ended = consumers === 0 ? '' : `, and end ${several(consumers, 'consumer')}`;
        await confirm(flags, `Delete the group ${what} ${lost}${ended}?`);
        await client.deleteGroup(queue, group);
        await print([
          flags.json === true
            ? jsonLine({ queue, group, deleted: true })
            : `the group ${what}: deleted`,
        ]);
      }),
    );
}
