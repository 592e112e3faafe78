/** Medians, ratios and tables of the benchmark runs. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The value that such a share of them does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = Math.max(Math.ceil(sorted.length * share) - 1, 0);
  return sorted[at] ?? Number.NaN;
}

/** One line of the published table. */
export interface Finding {
  readonly what: string;
  /** What was measured, in words, medians over the rounds. */
  readonly ours: string;
  readonly peer: string;
  readonly ratio: number;
  /**
   * The ratio to reach; `most` where less is better. Undefined: there is none, and where the ratio
   * is NaN, nothing that it was compared with.
   */
  readonly target: Target | undefined;
}

interface Target {
  readonly at: 'least' | 'most';
  readonly ratio: number;
}

export function ranAlone(what: string, ours: string): Finding {
  return { what, ours, peer: '-', ratio: Number.NaN, target: undefined };
}

function reached(found: number, { at, ratio }: Target): boolean {
  return at === 'least' ? found >= ratio : found <= ratio;
}

function judgement({ ratio, target }: Finding): readonly string[] {
  if (target === undefined)
    return Number.isNaN(ratio) ? ['-', '-', 'alone'] : [`${ratio.toFixed(2)}x`, '-', ''];
  const sign = target.at === 'least' ? '>=' : '<=';
  const verdict = reached(ratio, target) ? 'reached' : 'MISSED';
  return [`${ratio.toFixed(2)}x`, `${sign} ${target.ratio}x`, verdict];
}

export function table(findings: readonly Finding[]): string {
  const rows = findings.map((finding) => {
    const cells = [finding.what, finding.ours, finding.peer, ...judgement(finding)];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| what | ours | compared with | ratio | to reach | |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

export function perSecond(value: number): string {
  return `${Math.round(value).toLocaleString('en-US')}/s`;
}
