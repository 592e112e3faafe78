/**
 * `fluxmq queue show`: one queue with its groups, what holds its space, what of it is damaged, and
 * the limits that are not the defaults of its type.
 */

import { Command } from 'commander';
import type { QueueDetail } from '../../broker/ports.ts';
import { defaultDefinition } from '../../machine/default-definition.ts';
import { cutTo, visible } from '../text/columns.ts';
import { table } from '../text/table.ts';
import { count, several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { GROUP_COLUMNS } from './groups-table.ts';
import { differences, writtenLimits } from './limits.ts';
import { type WatchFlags, show, watchOption } from './screen.ts';
import { detailFields, jsonLine, shardOfQueue } from './told.ts';

interface ShowFlags extends BrokerFlags, WatchFlags {
  readonly all?: boolean;
}

const DAMAGED_SHOWN = 20;

export function showCommand(): Command {
  return addBrokerOptions(new Command('show'))
    .description('One queue, with its groups and its limits.')
    .argument('<queue>', 'its name')
    .option('-a, --all', 'every limit, also those at their defaults')
    .addOption(watchOption())
    .action((name: string, flags: ShowFlags) =>
      withBroker(flags, (client) =>
        show(flags, async ({ width }) => {
          const detail = await client.show(name);
          const at = flags.watch === undefined ? {} : { at_ms: Date.now() };
          if (flags.json === true) return [jsonLine({ ...at, ...detailFields(detail) })];
          return describe(detail, flags.all === true, width);
        }),
      ),
    );
}

function describe(detail: QueueDetail, all: boolean, width: number | undefined): string[] {
  const { definition, groups } = detail;
  const facts = [...factsOf(detail), ...limitsOf(detail, all)];
  const shard = shardOfQueue(detail);
  const place = `number ${detail.queueId}, ${shard === undefined ? 'in memory' : `shard ${shard}`}`;
  const widest = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, value]) => `  ${name.padEnd(widest)}  ${visible(value)}`);
  return [
    `${visible(definition.name)}: ${definition.type}, ${place}`,
    ...lines.map((line) => (width === undefined ? line : cutTo(line, width))),
    '',
    ...(groups.length === 0 ? ['no groups'] : table(GROUP_COLUMNS, groups, width)),
  ];
}

type Fact = readonly [name: string, value: string];

function factsOf(detail: QueueDetail): Fact[] {
  const { definition, start, next, heldBy, damaged, leaving } = detail;
  const kept = next - start;
  const offsets = kept === 0 ? `none kept, next is ${next}` : `${start} to ${next - 1}`;
  return [
    ...definition.topics.map((topic, at): Fact => [at === 0 ? 'topics' : '', topic]),
    ['offsets', offsets],
    ['depth', count(detail.depth)],
    ['consumers', count(detail.consumers)],
    ...(leaving === 0 ? [] : [['leaving', several(leaving, 'message')] as const]),
    ...(heldBy === undefined
      ? []
      : [['space held by', `offset ${heldBy.offset}, group ${heldBy.group}`] as const]),
    ...detail.groups.flatMap(({ name, lost }) =>
      lost === undefined ? [] : [lostFact(name, lost)],
    ),
    ...(damaged.length === 0 ? [] : [['damaged offsets', rangesOf(damaged)] as const]),
  ];
}

function lostFact(group: string, [from, through]: readonly [number, number]): Fact {
  const what = `what group ${group} has settled of ${from} to ${through}`;
  return ['not known', `${what} (held: seek or delete it)`];
}

function rangesOf(damaged: QueueDetail['damaged']): string {
  const shown = damaged
    .slice(0, DAMAGED_SHOWN)
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  const more = damaged.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${count(more)} more ranges` : shown.join(', ');
}

function limitsOf({ definition }: QueueDetail, all: boolean): Fact[] {
  if (all) return [...writtenLimits(definition)];
  const usual = defaultDefinition(definition.name, definition.type);
  return differences({ ...usual, topics: definition.topics }, definition).map(({ path, to }) => [
    path,
    to,
  ]);
}
