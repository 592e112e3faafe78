/**
 * `fluxmq queue move` and `seek`: messages of a group to another queue, or dead letters back to
 * where they came from; and a group to another place in its queue.
 */

import { Command } from 'commander';
import type { AdminClient } from '../../admin/client.ts';
import {
  AdminError,
  type GroupSummary,
  type MoveWish,
  type Position,
  type QueueDetail,
} from '../../broker/ports.ts';
import { readPosition } from '../../config/positions.ts';
import { readDuration } from '../../config/values.ts';
import { positiveCount } from '../client-options.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { count, several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { print } from './screen.ts';
import { jsonLine } from './told.ts';

interface MoveFlags extends BrokerFlags {
  readonly toSource?: boolean;
  readonly group?: string;
  readonly max: number;
}

/** More than anybody has. */
const EVERYTHING = 1_000_000_000;
/** So many are moved by one request, which has a deadline. */
const STEP = 10_000;
/** So often, one after the other, a step is asked for whose outcome nobody knows. */
const TRIES = 3;
const NAMES_SHOWN = 10;

export function moveCommand(): Command {
  return addBrokerOptions(new Command('move'))
    .description('Move unsettled messages to another queue, or dead letters back to their source.')
    .argument('<queue>', 'from where')
    .argument('[to]', 'to which queue')
    .option('--to-source', 'each dead letter back to the queue that it came from')
    .option('-g, --group <group>', 'of which group, where the queue has several')
    .option('-m, --max <n>', 'at most so many', positiveCount, EVERYTHING)
    .action((from: string, to: string | undefined, flags: MoveFlags) => move(from, to, flags));
}

async function move(from: string, to: string | undefined, flags: MoveFlags): Promise<void> {
  if ((to === undefined) === (flags.toSource !== true)) {
    throw new CliError(ExitCode.usage, 'say where to: the name of a queue, or --to-source');
  }
  await withBroker(flags, async (client) => {
    const group = groupOf(await client.show(from), flags.group);
    // What came in meanwhile is left, so that messages that come back do not go round.
    const most = Math.min(flags.max, group.depth);
    const wish = { name: from, group: group.name, to: to ?? '' };
    const tries = flags.max === EVERYTHING ? TRIES : 1;
    const { moved, isAll } = await moveUpTo(client, wish, { most, tries });
    const where = to === undefined ? 'the source' : visible(to);
    const known = isAll ? { moved } : { moved, at_least: true };
    const told = `${isAll ? '' : 'at least '}${several(moved, 'message')}`;
    await print([
      flags.json === true
        ? jsonLine({ queue: from, group: group.name, to: to ?? null, ...known })
        : `${visible(from)}: ${told} on the way to ${where}`,
    ]);
  });
}

/**
 * In steps. What was moved is settled in its queue and not moved again, so a step whose leader was
 * lost may be taken once more where everything is to go; how many it had moved is then not known.
 */
async function moveUpTo(
  client: AdminClient,
  wish: Omit<MoveWish, 'max'>,
  { most, tries }: { readonly most: number; readonly tries: number },
): Promise<{ readonly moved: number; readonly isAll: boolean }> {
  let moved = 0;
  let isAll = true;
  let left = tries;
  while (moved < most) {
    const max = Math.min(STEP, most - moved);
    let step: number;
    try {
      step = await client.move({ ...wish, max });
    } catch (error) {
      left--;
      if (left === 0 || !(error instanceof AdminError) || error.code !== 'unavailable') throw error;
      isAll = false;
      continue;
    }
    left = tries;
    moved += step;
    if (step < max) break;
    if (process.stderr.isTTY && moved < most) process.stderr.write(`${count(moved)} ...\n`);
  }
  return { moved, isAll };
}

/** The group that is meant where none is named: the only one. */
function groupOf({ definition, groups }: QueueDetail, name: string | undefined): GroupSummary {
  const queue = visible(definition.name);
  const [one, ...others] = groups;
  if (name !== undefined) {
    const named = groups.find((group) => group.name === name);
    if (named !== undefined) return named;
    throw new CliError(ExitCode.refused, `${queue} has no group ${visible(name)}`);
  }
  if (one === undefined) {
    throw new CliError(ExitCode.refused, `${queue} has no group: nothing waits in it`);
  }
  if (others.length === 0) return one;
  const names = groups.slice(0, NAMES_SHOWN).map((group) => visible(group.name));
  if (groups.length > NAMES_SHOWN) names.push('...');
  const text = `${queue} has ${groups.length} groups, name one with --group: ${names.join(', ')}`;
  throw new CliError(ExitCode.usage, text);
}

export function seekCommand(): Command {
  return addBrokerOptions(new Command('seek'))
    .description('Move a group to another place; back only in a stream.')
    .argument('<queue>', 'its name')
    .argument('<group>', 'which group')
    .argument('<position>', "first, last, next, an offset, a time, or so long ago, such as '2h'")
    .action((...[queue, group, written, flags]: [string, string, string, BrokerFlags]) => {
      const position = positionOf(written);
      return withBroker(flags, async (client) => {
        const floor = await client.seek(queue, group, position);
        await print([
          flags.json === true
            ? jsonLine({ queue, group, floor })
            : `${visible(queue)}: the group ${visible(group)} is at offset ${floor}`,
        ]);
      });
    });
}

/** As for `start` of a group in the configuration file; a duration is so long before now. */
function positionOf(written: string): Position {
  const ago = readDuration(written);
  if ('value' in ago) return { kind: 'time', ms: Math.max(0, Date.now() - ago.value) };
  const read = readPosition(written);
  if ('value' in read && read.value !== undefined) return read.value;
  const text =
    `'${visible(written)}' is no place in a queue: write first, last, next, an offset, a time ` +
    "such as 2026-01-31T12:00:00Z, or how long ago, such as '2h'";
  throw new CliError(ExitCode.usage, text);
}
