/** What a row of the table of metrics is. Plain data. */

export interface Series {
  /** The name of a figure. */
  readonly from: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface MetricRow {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly series: readonly Series[];
  /** The figures have another unit: they are multiplied by this. */
  readonly scale?: number;
}

export function of(from: string): readonly Series[] {
  return [{ from }];
}

/** `label` has the last part of each name. */
export function each(label: string, prefix: string, ...parts: string[]): readonly Series[] {
  return parts.map((part) => ({ from: `${prefix}/${part}`, labels: { [label]: part } }));
}
