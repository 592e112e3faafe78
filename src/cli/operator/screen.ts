/**
 * Prints what a command has to say: once, or with `--watch` again and again, redrawn on a terminal,
 * one after the other into a pipe. A redrawn screen is never longer than the terminal, so that it
 * does not scroll away.
 */

import { once } from 'node:events';
import { InvalidArgumentError, Option } from 'commander';
import { readDuration } from '../../config/values.ts';
import { ExitCode } from '../exit-codes.ts';
import { cutTo } from '../text/columns.ts';

const INTERVAL_MS = 2_000;
const SHORTEST_MS = 100;
const LONGEST_MS = 86_400_000;

/** What a frame is made for: nothing is cut without a width. */
export interface Frame {
  readonly width: number | undefined;
  /** Since the frame before; undefined for the first. */
  readonly elapsedMs: number | undefined;
}

export interface WatchFlags {
  readonly watch?: number | true;
  readonly json?: boolean;
}

export function watchOption(): Option {
  return new Option('-w, --watch [interval]', 'again every 2s, or as often as you say').argParser(
    (written: string): number => {
      const read = readDuration(written);
      if ('value' in read && read.value >= SHORTEST_MS && read.value <= LONGEST_MS) {
        return read.value;
      }
      throw new InvalidArgumentError("Write a duration from 100ms to 1d, such as '5s'.");
    },
  );
}

/** Waits for a slow reader, so that a long list does not pile up in memory. */
export async function print(lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  if (!process.stdout.write(`${lines.join('\n')}\n`)) await once(process.stdout, 'drain');
}

/** The width of the terminal; undefined where standard output is none. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}

export async function show(
  flags: WatchFlags,
  lines: (frame: Frame) => Promise<readonly string[]>,
): Promise<void> {
  const { watch } = flags;
  if (watch === undefined) {
    await print(await lines({ width: terminalWidth(), elapsedMs: undefined }));
    return;
  }
  const interval = watch === true ? INTERVAL_MS : watch;
  let last: number | undefined;
  // The way to end it is no failure.
  process.once('SIGINT', () => process.exit(ExitCode.ok));
  for (;;) {
    const width = terminalWidth();
    const now = performance.now();
    const frame = await lines({ width, elapsedMs: last === undefined ? undefined : now - last });
    await draw(flags, frame, width);
    last = now;
    await new Promise((resolve) => {
      setTimeout(resolve, Math.max(0, interval - (performance.now() - now)));
    });
  }
}

async function draw(
  { json }: WatchFlags,
  lines: readonly string[],
  width: number | undefined,
): Promise<void> {
  if (json === true) return print(lines);
  const head = new Date().toISOString().slice(11, 19);
  if (width === undefined) return print([head, ...lines, '']);
  const room = Math.max(2, process.stdout.rows) - 1;
  const all = [head, ...lines];
  const fitting =
    all.length <= room
      ? all
      : [...all.slice(0, room - 1), `... ${all.length - room + 1} more lines`];
  // Home, each line over the old one, and what is left of the old below.
  const drawn = fitting.map((line) => `${cutTo(line, width)}\x1b[K\n`).join('');
  process.stdout.write(`\x1b[H${drawn}\x1b[J`);
}
