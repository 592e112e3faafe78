/** `fluxmq queue purge` and `delete`: ask first, since nothing brings the messages back. */

import { Command } from 'commander';
import { visible } from '../text/columns.ts';
import { several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { type ConfirmFlags, confirm } from './confirm.ts';
import { print } from './screen.ts';
import { jsonLine } from './told.ts';

interface PurgeFlags extends BrokerFlags, ConfirmFlags {
  readonly group?: string;
}

export function purgeCommand(): Command {
  return addBrokerOptions(new Command('purge'))
    .description('Settle everything in a queue, but for what consumers hold now.')
    .argument('<queue>', 'its name')
    .option('-g, --group <group>', 'only for this group; without it for all')
    .option('-y, --yes', 'do not ask')
    .action((name: string, flags: PurgeFlags) => purge(name, flags));
}

async function purge(name: string, flags: PurgeFlags): Promise<void> {
  const { group } = flags;
  await withBroker(flags, async (client) => {
    const detail = await client.show(name);
    const found = detail.groups.find((each) => each.name === group);
    const depth = group === undefined ? detail.depth : (found?.depth ?? 0);
    const of = group === undefined ? '' : ` for the group ${visible(group)}`;
    await confirm(flags, `Purge ${several(depth, 'message')} of ${visible(name)}${of}?`);
    const purged = await client.purge(name, group);
    await print([
      flags.json === true
        ? jsonLine({ queue: name, group: group ?? null, purged })
        : `${visible(name)}: ${several(purged, 'message')} purged${of}`,
    ]);
  });
}

export function deleteCommand(): Command {
  return addBrokerOptions(new Command('delete'))
    .description('Delete a queue with all its messages and groups.')
    .argument('<queue>', 'its name')
    .option('-y, --yes', 'do not ask')
    .action((name: string, flags: BrokerFlags & ConfirmFlags) =>
      withBroker(flags, async (client) => {
        const { depth, consumers } = await client.show(name);
        const lost = `${several(depth, 'message')} and ${several(consumers, 'consumer')}`;
        await confirm(flags, `Delete the queue ${visible(name)} with ${lost}?`);
        await client.delete(name);
        await print([
          flags.json === true
            ? jsonLine({ queue: name, deleted: true })
            : `${visible(name)}: deleted`,
        ]);
      }),
    );
}
