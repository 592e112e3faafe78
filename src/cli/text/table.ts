/**
 * Tables for people: aligned columns, numbers to the right, no line longer than the terminal. Into
 * a pipe or a file every value goes in full. Pure.
 */

import { columnsOf, cutTo, visible } from './columns.ts';

export interface Column<Row> {
  readonly title: string;
  /** Numbers stand to the right. */
  readonly right?: true;
  /** May be cut when the terminal is too narrow; the widest of them first. */
  readonly cut?: true;
  of(row: Row): string;
}

const GAP = '  ';
const NARROWEST = 8;

/** `width` is that of the terminal; undefined: none, nothing is cut. */
export function table<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number | undefined,
): string[] {
  const cells = rows.map((row) => columns.map((column) => visible(column.of(row))));
  const titles = columns.map(({ title }) => title);
  const widths = columns.map((_, at) =>
    [titles, ...cells].reduce((most, line) => Math.max(most, columnsOf(line[at] ?? '')), 0),
  );
  if (width !== undefined) narrow(columns, widths, width);
  return [titles, ...cells].map((line) => {
    const padded = line.map((cell, at) => pad(cell, widths[at] ?? 0, columns[at]?.right === true));
    const text = padded.join(GAP).trimEnd();
    return width === undefined ? text : cutTo(text, width);
  });
}

/** Takes what is too much from the widest column that may be cut, as often as needed. */
function narrow<Row>(columns: readonly Column<Row>[], widths: number[], width: number): void {
  const total = (): number =>
    widths.reduce((sum, each) => sum + each, GAP.length * (widths.length - 1));
  for (let over = total() - width; over > 0; over = total() - width) {
    let widest = -1;
    for (const [at, column] of columns.entries()) {
      if (column.cut === true && (widths[at] ?? 0) > (widths[widest] ?? NARROWEST)) widest = at;
    }
    const before = widths[widest];
    if (before === undefined) return;
    // Not below the next widest at once, so that two long columns share what is there.
    const others = columns.map(({ cut }, at) => (cut === true && at !== widest ? widths[at] : 0));
    const next = Math.max(NARROWEST, ...others.map((each) => each ?? 0));
    const step = before > next ? before - next : 1;
    widths[widest] = before - Math.min(over, step);
  }
}

function pad(cell: string, width: number, right: boolean): string {
  const cut = cutTo(cell, width);
  const room = ' '.repeat(Math.max(0, width - columnsOf(cut)));
  return right ? room + cut : cut + room;
}
