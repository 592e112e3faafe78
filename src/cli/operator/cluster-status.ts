/**
 * `fluxmq cluster status`: nodes, shards, leaders and how far everybody is. It asks the node that
 * is meant, which answers whoever leads; further ones of this machine with `--with`, and shows what
 * they say as one table. One of several may be away; none at all is an error.
 */

import { Command } from 'commander';
import { collect } from '../client-options.ts';
import { CliError } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { type Column, table } from '../text/table.ts';
import { count, several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import {
  type Answer,
  type ClusterView,
  type MemberRow,
  type ShardView,
  clusterView,
} from './cluster-view.ts';
import { type WatchFlags, show, watchOption } from './screen.ts';
import { jsonLine, nodeFields } from './told.ts';

interface StatusFlags extends BrokerFlags, WatchFlags {
  readonly with?: readonly string[];
}

export function statusCommand(): Command {
  return addBrokerOptions(new Command('status'))
    .description('Nodes, shards, leaders, and how far everybody is behind.')
    .option('--with <dir>', 'the data directory of another node here; repeatable', collect)
    .addOption(watchOption())
    .action((flags: StatusFlags) =>
      show(flags, async ({ width }) => {
        const answers = await answersOf(flags);
        if (flags.json === true) return jsonOf(answers, flags);
        return linesOf(clusterView(answers), width);
      }),
    );
}

/** Each node is asked anew: one that is started again has a new socket. */
async function answersOf(flags: StatusFlags): Promise<Answer[]> {
  const { config: _config, data: _data, dataDir: _dataDir, socket: _socket, ...rest } = flags;
  const others = (flags.with ?? []).map((data) => ({ ...rest, data }));
  const asked = [flags, ...others].map((each) => answerOf(each));
  const answers = await Promise.all(asked);
  const [first] = answers;
  if (answers.some(({ status }) => status !== undefined)) return answers;
  throw first?.error ?? new Error('nobody was asked');
}

async function answerOf(flags: BrokerFlags): Promise<Answer & { readonly error?: CliError }> {
  const place = flags.data ?? flags.dataDir ?? flags.config ?? flags.socket ?? 'the broker here';
  try {
    return { place, status: await withBroker(flags, ({ cluster }) => cluster.status()) };
  } catch (error) {
    if (error instanceof CliError) return { place, status: undefined, error };
    throw error;
  }
}

/** With `--json` one object for each node; `null` for one that is away. */
function jsonOf(answers: readonly Answer[], { watch }: WatchFlags): string[] {
  const at = watch === undefined ? {} : { at_ms: Date.now() };
  return answers.map(({ place, status }) =>
    jsonLine(
      status === undefined ? { ...at, node: null, place } : { ...at, ...nodeFields(status) },
    ),
  );
}

function linesOf(view: ClusterView, width: number | undefined): string[] {
  const { cluster, shards, silent, strangers } = view;
  const name = cluster === undefined ? 'a single broker' : `cluster ${visible(cluster)}`;
  const rows = shards.flatMap((each) => each.rows);
  return [
    ...shards.map((shard) => `${name}, ${headOf(shard)}`),
    ...shards.flatMap((shard) => warningsOf(shard)),
    ...strangers.map(({ id, address }) => {
      const add = `fluxmq cluster add ${visible(id)} ${address}`;
      return `  ${visible(id)} is no member; at one that is: ${add}`;
    }),
    ...silent.map((place) => `  no answer: ${visible(place)}`),
    '',
    ...table(COLUMNS, rows, width),
  ];
}

function headOf({ shard, leader, view }: ShardView): string {
  const voters = view.members.filter(({ role }) => role === 'voter').length;
  const who = leader === undefined ? 'nobody leads' : `${visible(leader)} leads`;
  return `shard ${shard}: ${who} in term ${view.term}, ${several(voters, 'voter')}`;
}

function warningsOf({ leader, view, rows }: ShardView): string[] {
  const lines: string[] = [];
  const voters = rows.filter(({ member }) => member?.role === 'voter');
  const away = voters.filter(({ state }) => state === 'away').length;
  if (leader === undefined) {
    lines.push('  nothing is committed before a majority of the voters has elected a leader');
  } else if (away > 0) {
    const spare = voters.length - Math.floor(voters.length / 2) - 1 - away;
    lines.push(`  ${several(away, 'voter')} away; ${count(Math.max(0, spare))} more can go`);
  }
  if (view.rescued !== undefined) {
    const { by, atMs, lastIndex, lastTerm } = view.rescued;
    const at = new Date(atMs).toISOString();
    lines.push(
      `  rescued by ${visible(by)} at ${at} behind entry ${lastIndex} of term ${lastTerm}`,
    );
  }
  if (view.transferTo !== undefined) lines.push(`  hands over to ${visible(view.transferTo)}`);
  if (view.membersIndex > view.committed) lines.push('  a change of members is under way');
  for (const { id, replica } of rows) {
    if (replica === undefined || replica.damagedRanges === 0) continue;
    const damage = several(replica.damagedRanges, 'damaged range');
    lines.push(`  ${visible(id)}: ${damage} of its log, repaired from the others`);
  }
  return lines;
}

const COLUMNS: readonly Column<MemberRow>[] = [
  { title: 'SHARD', right: true, of: ({ shard }) => String(shard) },
  { title: 'NODE', cut: true, of: ({ id }) => id },
  { title: 'MEMBER', of: ({ member }) => member?.role ?? '-' },
  { title: 'ROLE', of: ({ leads, replica }) => replica?.role ?? (leads ? 'leader' : '-') },
  { title: 'TERM', right: true, of: ({ replica }) => shown(replica?.term) },
  { title: 'LAST', right: true, of: ({ last }) => shown(last) },
  { title: 'COMMITTED', right: true, of: ({ replica }) => shown(replica?.committed) },
  { title: 'APPLIED', right: true, of: ({ replica }) => shown(replica?.applied) },
  { title: 'LAG', right: true, of: ({ lag }) => (lag === undefined ? '-' : count(lag)) },
  { title: 'STATE', of: ({ state }) => state },
];

/** Indexes and terms are names, not amounts. */
function shown(value: number | undefined): string {
  return value === undefined ? '-' : String(value);
}
