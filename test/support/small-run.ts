/** Small runs for tests: a list of keys and values, written to memory or to a given disk. */

import type { Files } from '../../storage/files.ts';
import { Runs } from '../../storage/runs/runs.ts';
import type { FinishedRun } from '../../storage/runs/run-writer.ts';

const OWNER = '0123456789abcdef';
export const DIRECTORY = '/runs';

export interface Value {
  readonly stream: number;
  readonly offset: number;
  readonly text: string;
}

export function runsIn(
  files: Files,
  options: { blockBytes?: number; owner?: string; directory?: string } = {},
): Runs {
  return new Runs({
    files,
    directory: options.directory ?? DIRECTORY,
    owner: options.owner ?? OWNER,
    blockBytes: options.blockBytes ?? 64,
    indexCacheBytes: 4096,
    now: () => 1_700_000_000_000,
  });
}

export async function writeRun(
  runs: Runs,
  runId: number,
  values: readonly Value[],
): Promise<FinishedRun> {
  const writer = await runs.create(runId);
  for (const { stream, offset, text } of values) {
    writer.add(stream, offset, Buffer.from(text));
    if (writer.pendingBytes > 256) await writer.drain();
  }
  return writer.finish();
}

/** The value of a key, `lost` where it cannot be read, undefined where there is none. */
export async function valueOf(
  runs: Runs,
  runId: number,
  { stream, offset }: { stream: number; offset: number },
): Promise<string | undefined> {
  const read = await runs.read(runId, { stream, offset }, { maxBytes: 1 });
  if (read.kind === 'end') return undefined;
  if (read.kind === 'damaged') {
    const { first, last } = read.damage;
    const isIn =
      (first.stream < stream || (first.stream === stream && first.offset <= offset)) &&
      (last.stream > stream || (last.stream === stream && last.offset >= offset));
    return isIn ? 'lost' : undefined;
  }
  const [block] = read.blocks;
  const value = block?.find(stream, offset) ?? -1;
  if (block === undefined || value === -1) return undefined;
  return Buffer.from(block.bytes.subarray(block.start(value), block.end(value))).toString();
}

/** Three streams, sparse and dense, with values that are empty, small and larger than a block. */
export function someValues(): Value[] {
  const values: Value[] = [];
  for (let offset = 5; offset < 12; offset += 1)
    values.push({ stream: 1, offset, text: `a${offset}` });
  for (let offset = 0; offset < 30; offset += 7) {
    values.push({ stream: 2, offset, text: 'b'.repeat(offset) });
  }
  values.push({ stream: 2 ** 40, offset: 2 ** 50, text: 'c'.repeat(150) });
  values.push({ stream: 2 ** 40, offset: 2 ** 50 + 1, text: '' });
  values.push({ stream: 2 ** 40, offset: 2 ** 50 + 2, text: 'last' });
  return values;
}
