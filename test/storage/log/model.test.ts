/**
 * The log against an array: any sequence of calls, crashes and openings shows what the array says.
 */
import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import type { Log } from '../../../storage/log/log.ts';
import type { HardState } from '../../../storage/log/log-types.ts';
import type { LogOptions } from '../../../storage/log/log-types.ts';
import { CopyWatch } from '../../support/copy-watch.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { at, DIRECTORY, indexPaths, openSmall, payloadOf } from '../../support/small-log.ts';

interface Entry {
  readonly epoch: number;
  readonly length: number;
}

/** Entry i of the log is `entries[i - 1]`; those below `start` are gone. */
interface Model {
  entries: Entry[];
  start: number;
  durable: number;
  epoch: number;
  hardState: HardState;
}

interface Real {
  files: MemoryFiles;
  log: Log;
  readonly options: Partial<LogOptions>;
  readonly copies: CopyWatch;
}

type Command = fc.AsyncCommand<Model, Real>;

function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return { check: () => true, run, toString: () => name };
}

async function open(model: Model, real: Real): Promise<void> {
  const { copies, options, files: memory } = real;
  // A sync takes long enough for the next writes to be copied.
  memory.before = async ({ operation, path }) => {
    if (operation === 'sync' && path.endsWith('.log')) await turns(2);
  };
  expect(copies.wrong).toBeUndefined();
  const files = copies.over(memory);
  const { log, recovery } = await openSmall(memory, { ...options, files });
  real.log = log;
  expect(recovery.faulty).toEqual([]);
  // What was durable is there; what was not may be.
  expect(log.last).toBeGreaterThanOrEqual(model.durable);
  expect(log.last).toBeLessThanOrEqual(model.entries.length);
  model.entries.length = log.last;
  model.durable = log.last;
  log.onDurable((durable) => {
    // A sync that was under way at a crash is nobody's.
    if (real.files !== memory) return;
    expect(durable).toBeGreaterThan(model.durable);
    model.durable = durable;
  });
  check(model, real);
}

async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) await new Promise((done) => setImmediate(done));
}

function check(model: Model, { log }: Real): void {
  expect(log.last).toBe(model.entries.length);
  expect(log.durable).toBe(model.durable);
  expect(log.start).toBe(model.start);
  expect(log.hardState).toEqual(model.hardState);
  for (let index = model.start; index <= log.last; index += 1) {
    expect(log.epochAt(at(index))).toBe(model.entries[index - 1]?.epoch);
  }
  if (model.start > 1) expect(log.epochBeforeStart).toBe(model.entries[model.start - 2]?.epoch);
}

const append = fc
  .tuple(fc.integer({ min: 1, max: 8 }), fc.nat(900), fc.nat(3), fc.boolean())
  .map(([count, length, raise, wait]) => {
    const how = `${raise === 3 ? ' in a new epoch' : ''}${wait ? ', wait' : ''}`;
    const name = `append ${count} of ${length}${how}`;
    return command(name, async (model, real) => {
      if (raise === 3) model.epoch += 1;
      for (let nth = 0; nth < count; nth += 1) {
        const { epoch } = model;
        model.entries.push({ epoch, length });
        const index = real.log.append({
          epoch,
          timestampMs: 5,
          recordCount: 1,
          payload: [payloadOf(model.entries.length, length)],
        });
        expect(index).toBe(model.entries.length);
      }
      if (!wait) return turns(1);
      await real.log.appended(real.log.last);
      check(model, real);
    });
  });

const sync = fc.constant(
  command('sync', async (model, real) => {
    await real.log.appended(real.log.last);
    check(model, real);
  }),
);

const hardState = fc.tuple(fc.nat(1000), fc.string()).map(([term, vote]) => {
  return command(`hard state ${term}`, async (model, real) => {
    await real.log.setHardState({ term, vote });
    model.hardState = { term, vote };
    check(model, real);
  });
});

const read = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 4000 })).map(([where, maxBytes]) => {
  return command(`read somewhere up to ${maxBytes}`, async (model, real) => {
    const from = model.start + (where % (model.entries.length - model.start + 2));
    const outcome = await real.log.read(at(from), { maxBytes });
    if (outcome.kind !== 'batches') throw new Error(JSON.stringify(outcome));
    if (from <= model.durable) expect(outcome.batches.length).toBeGreaterThan(0);
    for (const [nth, batch] of outcome.batches.entries()) {
      const entry = model.entries[from + nth - 1];
      expect(batch.index).toBe(from + nth);
      expect(batch.epoch).toBe(entry?.epoch);
      expect(batch.payload).toEqual(payloadOf(batch.index, entry?.length));
    }
  });
});

const truncatePrefix = fc.nat().map((where) => {
  return command('truncate prefix', async (model, real) => {
    const firstKept = model.start + (where % (model.durable - model.start + 2));
    await real.log.truncatePrefix(at(firstKept));
    expect(real.log.start).toBeGreaterThanOrEqual(model.start);
    expect(real.log.start).toBeLessThanOrEqual(firstKept);
    model.start = real.log.start;
  });
});

const truncateSuffix = fc.tuple(fc.nat(), fc.boolean()).map(([where, far]) => {
  return command('truncate suffix', async (model, real) => {
    const count = model.entries.length - model.start + 1;
    const cut = where % (far ? count + 1 : Math.min(count, 5) + 1);
    const lastKept = model.entries.length - cut;
    await real.log.truncateSuffix(at(lastKept));
    model.entries.length = lastKept;
    model.durable = lastKept;
    check(model, real);
  });
});

const crash = fc.constant(
  command('crash', async (model, real) => {
    real.files = real.files.crash();
    await open(model, real);
  }),
);

const close = fc.boolean().map((dropIndexes) => {
  return command(`close${dropIndexes ? ', drop indexes' : ''}, open`, async (model, real) => {
    await real.log.close();
    model.durable = model.entries.length;
    if (dropIndexes) for (const path of indexPaths(real.files)) real.files.take(path);
    await open(model, real);
  });
});

const commands = fc.commands(
  [
    append,
    append,
    append,
    sync,
    hardState,
    read,
    read,
    truncatePrefix,
    truncateSuffix,
    crash,
    close,
  ],
  { maxCommands: 40, size: '+1' },
);

test.each([
  ['prewritten-dsync', { syncMode: 'prewritten-dsync' }, 0],
  ['fdatasync', { syncMode: 'fdatasync', copyBytes: 1 << 20 }, 0],
  ['prewritten-dsync, copied', { syncMode: 'prewritten-dsync', copyBytes: 1 }, 2],
  ['fdatasync, copied', { syncMode: 'fdatasync', copyBytes: 1 }, 2],
] as const)(
  'any calls, crashes and openings in mode %s leave what an array would hold',
  async (_, mode, atOnce) => {
    const copies = new CopyWatch();
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const files = new MemoryFiles();
        const model: Model = {
          entries: [],
          start: 1,
          durable: 0,
          epoch: 1,
          hardState: { term: 0, vote: '' },
        };
        // Room for some writes before the roll-over that waits for their sync.
        const options = { ...mode, ...(atOnce > 0 && { segmentBytes: 16 * 1024 }) };
        const { log } = await openSmall(files, options);
        await log.close();
        const real: Real = { files, log, options, copies };
        await open(model, real);
        await fc.asyncModelRun(() => ({ model, real }), list);
        real.files = real.files.crash();
        await open(model, real);
        const left = real.files.paths().filter((path) => path.endsWith('.log'));
        expect(left).toHaveLength(real.log.segments);
        expect(left.every((path) => path.startsWith(DIRECTORY))).toBe(true);
      }),
      { numRuns: 150 },
    );
    expect(copies.most).toBeGreaterThanOrEqual(atOnce);
  },
);
