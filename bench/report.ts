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
  /** The ratio to reach; `at-most` where less is better. */
  readonly target: { readonly at: 'least' | 'most'; readonly ratio: number };
}

function reached(finding: Finding): boolean {
  const { at, ratio } = finding.target;
  return at === 'least' ? finding.ratio >= ratio : finding.ratio <= ratio;
}

export function table(findings: readonly Finding[]): string {
  const rows = findings.map((finding) => {
    const sign = finding.target.at === 'least' ? '>=' : '<=';
    const verdict = reached(finding) ? 'reached' : 'MISSED';
    const cells = [
      finding.what,
      finding.ours,
      finding.peer,
      `${finding.ratio.toFixed(2)}x`,
      `${sign} ${finding.target.ratio}x`,
      verdict,
    ];
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
