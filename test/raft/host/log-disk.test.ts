/** The port `Disk` over a real log: order, what counts as persisted, cuts, kinds, failures. */

import { describe, expect, it } from 'vitest';
import { LogDisk } from '../../../raft/host/log-disk.ts';
import type { DiskWrite } from '../../../raft/host/ports.ts';
import type { Entry } from '../../../raft/raft.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { openRepairsLog } from '../../support/repairs-log.ts';
import { openSmall, payloadOf } from '../../support/small-log.ts';
import type { SmallLog } from '../../support/small-log.ts';
import { until } from '../../support/shard-world.ts';

function entry(index: number, term: number, fields: Partial<Entry> = {}): Entry {
  return {
    index,
    term,
    kind: 'commands',
    payload: payloadOf(index),
    configuration: undefined,
    local: undefined,
    ...fields,
  };
}

function entries(from: number, through: number, term: number): Entry[] {
  return Array.from({ length: through - from + 1 }, (_none, nth) => entry(from + nth, term));
}

class Opened {
  readonly disk: LogDisk;
  readonly persisted: number[] = [];
  readonly failures: Error[] = [];
  readonly small: SmallLog;
  #token = 0;

  constructor(small: SmallLog, files: MemoryFiles) {
    this.small = small;
    const onFailure = (error: Error): void => this.disk.logFailed(error);
    this.disk = new LogDisk({
      log: small.log,
      openRepairs: (how) => openRepairsLog({ files, directory: '/data/repairs', onFailure }, how),
      note: ({ payload }) => ({ timestampMs: payload[0] ?? 0, recordCount: payload.length }),
    });
    this.disk.listen({
      persisted: (token) => void this.persisted.push(token),
      failed: (error) => void this.failures.push(error),
    });
  }

  static async open(files: MemoryFiles): Promise<Opened> {
    const opened = new Opened(await openSmall(files), files);
    await opened.disk.recover();
    return opened;
  }

  write(fields: Partial<DiskWrite>): number {
    const token = ++this.#token;
    this.disk.write({
      hardState: undefined,
      truncateAfter: undefined,
      entries: [],
      repaired: [],
      ...fields,
      token,
    });
    return token;
  }

  get lastPersisted(): number {
    return this.persisted.at(-1) ?? 0;
  }

  async done(token: number): Promise<void> {
    await until(() => this.lastPersisted >= token);
  }

  async read(from: number): Promise<readonly Entry[]> {
    const outcome = await this.disk.read(from, 1 << 20);
    return outcome.kind === 'entries' ? outcome.entries : [];
  }
}

describe('a disk over the log', () => {
  it('tells a write persisted when it survives a power cut, and not before', async () => {
    const files = new MemoryFiles();
    const opened = await Opened.open(files);
    let release: (() => void) | undefined;
    files.before = ({ operation }) =>
      operation === 'write'
        ? new Promise<void>((resolve) => {
            release = resolve;
          })
        : undefined;
    const token = opened.write({ hardState: { term: 3, vote: 'a' }, entries: entries(1, 3, 3) });
    await until(() => release !== undefined);
    expect(opened.persisted).toEqual([]);
    files.before = () => undefined;
    release?.();
    await opened.done(token);
    const after = await Opened.open(files.crash());
    expect(after.disk.hardState).toEqual({ term: 3, vote: 'a', tailLost: false });
    expect(after.disk.last).toBe(3);
    expect(after.disk.terms).toEqual([{ term: 3, firstIndex: 1 }]);
  });

  it('never goes back in what it tells, also where entries and a vote went in one write', async () => {
    const files = new MemoryFiles();
    const opened = await Opened.open(files);
    let release: (() => void) | undefined;
    files.before = ({ operation }) =>
      operation === 'write' && release === undefined
        ? new Promise<void>((resolve) => {
            release = resolve;
          })
        : undefined;
    opened.write({ entries: entries(1, 1, 3) });
    await until(() => release !== undefined);
    const vote = opened.write({ hardState: { term: 3, vote: 'a' } });
    const behind = opened.write({ entries: entries(2, 2, 3) });
    release?.();
    await opened.done(behind);
    await opened.disk.close();
    expect(opened.persisted.toSorted((a, b) => a - b)).toEqual(opened.persisted);
    expect(opened.persisted).not.toContain(vote);
    expect(opened.lastPersisted).toBe(behind);
  });

  it('gives entries back as they were, each kind', async () => {
    const files = new MemoryFiles();
    const opened = await Opened.open(files);
    const configuration = {
      members: [
        { id: 'a', role: 'voter', address: '127.0.0.1:1' },
        { id: 'b', role: 'joining', address: 'ü' },
      ],
    } as const;
    const written = [
      entry(1, 1, { kind: 'empty', payload: new Uint8Array(0) }),
      entry(2, 1, { kind: 'configuration', payload: new Uint8Array(0), configuration }),
      entry(3, 2),
    ];
    await opened.done(opened.write({ entries: written }));
    expect(await opened.read(1)).toEqual(written);
    const [batch] = await opened.small.log
      .read(3 as never, { maxBytes: 1 })
      .then((outcome) => (outcome.kind === 'batches' ? outcome.batches : []));
    expect(batch).toMatchObject({ timestampMs: payloadOf(3)[0], recordCount: 40 });
  });

  it('a hard state alone is persisted, behind what was written before it', async () => {
    const opened = await Opened.open(new MemoryFiles());
    opened.write({ entries: entries(1, 2, 1) });
    const token = opened.write({ hardState: { term: 2, vote: undefined } });
    await opened.done(token);
    expect(opened.disk.durable).toBe(2);
    expect(opened.disk.hardState).toMatchObject({ term: 2, vote: undefined });
    expect(opened.persisted.toSorted((a, b) => a - b)).toEqual(opened.persisted);
  });

  it('cuts the suffix in its place in the stream: what is written meanwhile comes behind', async () => {
    const files = new MemoryFiles();
    const opened = await Opened.open(files);
    opened.write({ entries: entries(1, 60, 1) });
    opened.write({
      hardState: { term: 2, vote: 'b' },
      truncateAfter: 40,
      entries: entries(41, 42, 2),
    });
    opened.write({ entries: entries(43, 50, 2) });
    const token = opened.write({ truncateAfter: 45, entries: entries(46, 46, 3) });
    await opened.done(token);
    expect(opened.persisted).toEqual(opened.persisted.toSorted((a, b) => a - b));
    const after = await Opened.open(files.crash());
    expect(after.disk.last).toBe(46);
    expect(after.disk.terms).toEqual([
      { term: 1, firstIndex: 1 },
      { term: 2, firstIndex: 41 },
      { term: 3, firstIndex: 46 },
    ]);
  });

  it('a cut that leaves nothing to append is persisted too, with its hard state', async () => {
    const files = new MemoryFiles();
    const opened = await Opened.open(files);
    opened.write({ entries: entries(1, 5, 1) });
    await opened.done(opened.write({ truncateAfter: 2 }));
    expect(opened.disk.last).toBe(2);
    const hardState = { term: 9, vote: 'x', tailLost: true };
    await opened.done(opened.write({ truncateAfter: 2, hardState }));
    await opened.done(opened.write({ entries: entries(3, 9, 9) }));
    const after = await Opened.open(files.crash());
    expect(after.disk.hardState).toEqual(hardState);
    expect(after.disk.last).toBe(9);
  });

  it('the first failed write is told once, and nothing is persisted any more', async () => {
    const files = new MemoryFiles();
    const opened = await Opened.open(files);
    await opened.done(opened.write({ entries: entries(1, 1, 1) }));
    files.before = ({ operation }) => {
      if (operation === 'write') throw new Error('EIO');
    };
    opened.write({ hardState: { term: 2, vote: 'a' }, entries: entries(2, 2, 2) });
    await until(() => opened.small.failures.length > 0);
    for (const error of opened.small.failures) opened.disk.logFailed(error);
    files.before = () => undefined;
    opened.write({ entries: entries(3, 3, 2) });
    await until(() => opened.failures.length > 0);
    expect(opened.failures).toHaveLength(1);
    expect(opened.persisted).toEqual([1]);
  });

  it('terms begin with the log, also where its front was cut off', async () => {
    const opened = await Opened.open(new MemoryFiles());
    await opened.done(opened.write({ entries: entries(1, 60, 1) }));
    await opened.done(opened.write({ entries: entries(61, 200, 2) }));
    await opened.disk.truncatePrefix(50);
    const { start } = opened.disk;
    expect(start).toBeGreaterThan(1);
    expect(opened.disk.termBeforeStart).toBe(1);
    expect(opened.disk.terms).toEqual([
      { term: 1, firstIndex: start },
      { term: 2, firstIndex: 61 },
    ]);
    await opened.disk.truncatePrefix(200);
    expect(opened.disk.terms).toEqual([{ term: 2, firstIndex: opened.disk.start }]);
  });
});
