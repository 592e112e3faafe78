/** What a run was and what the checkers say, as text: on the terminal and in `summary.txt`. */

import type { Verdict } from '../checkers/verdict.ts';
import type { RunRecord } from '../run.ts';

const ANOMALIES_SHOWN = 10;
const NS_PER_S = 1e9;

export interface Judged {
  readonly run: RunRecord;
  readonly verdicts: readonly Verdict[];
  readonly operations: number;
  readonly seconds: number;
}

export function isValid({ verdicts }: Judged): boolean {
  return verdicts.every(({ valid }) => valid);
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  );
}

function verdictLines({ checker, valid, figures, ...rest }: Verdict): string[] {
  const numbers = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
  const shown = rest.anomalies.slice(0, ANOMALIES_SHOWN).map(({ time, text }) => {
    return `      at ${(time / NS_PER_S).toFixed(2)} s: ${text}`;
  });
  const more = rest.anomalyCount - shown.length;
  return [
    `${valid ? 'ok  ' : 'FAIL'} ${checker.padEnd(15)}${numbers.join(', ')}`,
    ...shown,
    ...(more > 0 ? [`      and ${more} more`] : []),
    ...(rest.rows !== undefined && rest.rows.length > 1 ? table(rest.rows) : []),
  ];
}

export function summary(judged: Judged): string {
  const { run, verdicts, operations, seconds } = judged;
  const faults = run.nemeses.length > 0 ? run.nemeses.join(', ') : 'none';
  const cpu =
    run.cpuSeconds === undefined ? '' : `, ${Math.round(run.cpuSeconds)} s CPU of brokers`;
  const nodes = run.nodes === 1 ? '1 node' : `${run.nodes} nodes`;
  const count = run.places?.length ?? 0;
  const shards = count > 1 ? `, ${count} shards` : '';
  return [
    `workload ${run.workload}, ${nodes}${shards}, seed ${run.seed}`,
    `faults: ${faults}`,
    `network: ${run.how}`,
    `${operations} operations in ${Math.round(seconds)} s${cpu}`,
    '',
    ...verdicts.flatMap(verdictLines),
    '',
    isValid(judged) ? 'Everything looks good.' : 'The run is NOT valid.',
    '',
  ].join('\n');
}
