/**
 * The closing table of a run of many seeds: what was simulated, which faults were requested and
 * installed, what rare things were seen. Also says whether the harness did what it was asked.
 */

import type { Counters } from './counters.ts';
import { LINK_KINDS, STEP_KINDS } from './swarm.ts';

export interface RunTotals {
  readonly seeds: number;
  readonly violations: number;
  readonly simulatedUs: number;
  readonly events: number;
  readonly counters: Counters;
}

const US_AN_HOUR = 3_600_000_000;

const PREFIXES = ['requested: ', 'installed: ', 'fault: ', 'rare: ', 'refused: '];

/** So few seeds prove nothing about kinds that need a chance. */
const SEEDS_TO_JUDGE = 100;

/** Kinds that seeds asked for and no seed ever got. */
export function neverInstalled({ seeds, counters }: RunTotals): string[] {
  if (seeds < SEEDS_TO_JUDGE) return [];
  return [...STEP_KINDS, ...LINK_KINDS].filter(
    (kind) => counters.get(`requested: ${kind}`) > 0 && counters.get(`installed: ${kind}`) === 0,
  );
}

export function closingTable(totals: RunTotals): string {
  const { seeds, violations, simulatedUs, events, counters } = totals;
  const lines = [
    row('seeds', seeds),
    row('violations', violations),
    row('simulated hours', (simulatedUs / US_AN_HOUR).toFixed(2)),
    row('events', events),
  ];
  for (const [name, count] of counters.entries()) {
    if (!PREFIXES.some((prefix) => name.startsWith(prefix))) lines.push(row(name, count));
  }
  lines.push('', 'faults: seeds that asked for them, times installed');
  for (const kind of [...STEP_KINDS, ...LINK_KINDS]) {
    const asked = counters.get(`requested: ${kind}`);
    lines.push(row(kind, `${asked} / ${counters.get(`installed: ${kind}`)}`));
  }
  for (const prefix of PREFIXES.slice(2)) {
    lines.push('');
    for (const [name, count] of counters.entries()) {
      if (name.startsWith(prefix)) lines.push(row(name, count));
    }
  }
  const never = neverInstalled(totals);
  if (never.length > 0) lines.push('', `never installed: ${never.join(', ')}`);
  return lines.join('\n');
}

function row(name: string, value: number | string): string {
  return `  ${name.padEnd(42)} ${String(value).padStart(14)}`;
}
