/**
 * `fluxmq raft inspect` as a process, and what `segment-dump` shows of consensus: on the files of
 * real replicas, written by the product, stopped, cut and damaged.
 */

import { createHash } from 'node:crypto';
import { mkdir, open, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogDisk, encodeConfiguration, type Configuration, type Entry } from '#raft';
import { Log, nodeFiles, openDataDirectory, openLevelRecords } from '#storage';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { encodeNote } from '../../src/shard/checkpoint.ts';
import { encodeMembers } from '../../src/shard/members.ts';
import { scratchDirectory } from '../support/broker-process.ts';
import { type Ended, fluxmq } from './run-cli.ts';

let root = '';
let data = '';

const MEMBERS: Configuration = {
  members: [
    { id: 'a', role: 'voter', address: '127.0.0.1:1' },
    { id: 'b', role: 'joining', address: '127.0.0.1:2' },
  ],
};

beforeEach(async () => {
  root = await scratchDirectory('inspect');
  data = join(root, 'data');
});
afterEach(() => rm(root, { recursive: true, force: true }));

interface Written {
  readonly entries: readonly Entry[];
  readonly clean: boolean;
  readonly vote?: string;
  readonly tailLost?: boolean;
  readonly shard?: number;
}

/** A replica's log, by the same code that a broker writes it with. */
async function write({
  entries,
  clean,
  vote = 'b',
  tailLost = false,
  shard = 0,
}: Written): Promise<void> {
  const files = nodeFiles();
  const directory = await openDataDirectory({ files, directory: data, now: Date.now });
  const { log } = await Log.open({
    files,
    directory: await directory.folder(`shard-${shard}`, 'log'),
    now: Date.now,
    onFailure: () => undefined,
  });
  const disk = new LogDisk({
    log,
    note: () => ({ timestampMs: 1, recordCount: 1 }),
    openRepairs: () => Promise.resolve(undefined),
  });
  await disk.recover();
  const term = entries.at(-1)?.term ?? 1;
  const durable = new Promise<void>((resolve, reject) => {
    disk.listen({ persisted: (token) => token === 1 && resolve(), failed: reject });
  });
  disk.write({
    token: 1,
    hardState: { term, vote: vote === '' ? undefined : vote, tailLost },
    truncateAfter: undefined,
    entries,
    repaired: [],
  });
  await durable;
  await log.close(clean ? 'in-order' : 'as-found');
  await directory.close();
}

function entry(index: number, term: number, more: Partial<Entry> = {}): Entry {
  return {
    index,
    term,
    kind: 'empty',
    payload: new Uint8Array(0),
    configuration: undefined,
    local: undefined,
    ...more,
  };
}

const configured = (index: number, term: number): Entry =>
  entry(index, term, {
    kind: 'configuration',
    configuration: MEMBERS,
    payload: encodeConfiguration(MEMBERS),
  });

async function checkpointAt(
  index: number,
  serveFrom: number,
  { shard = 0, configuration = MEMBERS }: { shard?: number; configuration?: Configuration } = {},
): Promise<void> {
  const files = nodeFiles();
  const folder = join(data, `shard-${shard}`, 'records');
  await mkdir(folder, { recursive: true });
  const records = await openLevelRecords({ files, directory: folder });
  const members = encodeMembers({ configuration: { index: 2, configuration }, serveFrom });
  const batch = records.begin();
  batch.put('some', new Uint8Array(3));
  await batch.write({
    index,
    term: 2,
    data: encodeNote({ logId: 'log', members, marks: undefined }),
  });
  await records.close();
}

const inspect = (...args: readonly string[]): Promise<Ended> =>
  fluxmq(['raft', 'inspect', data, ...args]);

async function inspected(): Promise<Record<string, unknown>> {
  const { stdout } = await inspect('--json');
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function digest(): Promise<string> {
  const hash = createHash('sha256');
  for (const one of await readdir(data, { recursive: true, withFileTypes: true })) {
    const path = join(one.parentPath, one.name);
    hash.update(path);
    if (one.isFile()) hash.update(await readFile(path));
  }
  return hash.digest('hex');
}

const COURSE = [entry(1, 1), configured(2, 1), entry(3, 3), entry(4, 3)];

describe('raft inspect', () => {
  it('tells vote, extent, terms, members and checkpoint, and changes no byte', async () => {
    await write({ entries: COURSE, clean: true });
    await checkpointAt(3, 4);
    const before = await digest();
    const { code, stdout } = await inspect();
    expect(code).toBe(ExitCode.ok);
    expect(stdout.trimEnd().split('\n')).toEqual([
      `shard 0 in ${data}`,
      '  log         entries 1 to 4, 1 segment, closed in order',
      '  term        3',
      '  vote        b',
      '  terms       1 from entry 1, 3 from entry 3',
      '  checkpoint  at entry 3, 1 records; replay begins at 4; ' +
        'serves nothing before it has applied entry 4',
      '  members',
      '    a (voter at 127.0.0.1:1)',
      '    b (joining at 127.0.0.1:2)',
      '    (of entry 2; in use from there on, committed or not)',
      '  no damage',
    ]);
    expect(await inspected()).toMatchObject({
      clean: true,
      term: 3,
      vote: 'b',
      tail_lost: false,
      start: 1,
      last: 4,
      terms: [
        { term: 1, first_index: 1 },
        { term: 3, first_index: 3 },
      ],
      members_index: 2,
      members: MEMBERS.members,
      checkpoint: { index: 3, records: 1, serve_from: 4 },
      torn_tail: null,
      damaged: [],
    });
    expect(await digest()).toBe(before);
  });

  it('a replica that lost its end, and has voted for nobody, says so', async () => {
    await write({ entries: [entry(1, 1)], clean: false, vote: '', tailLost: true });
    const { stdout } = await inspect();
    expect(stdout).toContain('not closed in order');
    expect(stdout).toContain('  vote        none in this term');
    expect(stdout).toContain('the end of its log was lost');
    expect(stdout).toContain('none: replay begins at the start of the log');
    expect(stdout).toContain('those of cluster.peers');
  });

  it('damage is told with its entries, and exit status 1', async () => {
    await write({ entries: COURSE, clean: true });
    const folder = join(data, 'shard-0', 'log');
    const [name = ''] = (await readdir(folder)).filter((each) => each.endsWith('.log'));
    const bytes = await readFile(join(folder, name));
    const at = bytes.indexOf('127.0.0.1:2');
    const file = await open(join(folder, name), 'r+');
    await file.write(Buffer.from('X'), 0, 1, at);
    await file.close();
    const { code, stdout } = await inspect();
    expect(code).toBe(ExitCode.unexpected);
    expect(stdout).toMatch(/DAMAGED: entries 2 to 2: .*/);
    expect(await inspected()).toMatchObject({ damaged: [{ from: 2, through: 2, repaired: 0 }] });
  });

  it('every shard that has a folder is told, or one alone', async () => {
    await write({ entries: COURSE, clean: true });
    await write({ entries: COURSE.slice(0, 2), clean: true, shard: 2 });
    await write({ entries: [entry(1, 1)], clean: true, shard: 10 });
    const { code, stdout } = await inspect();
    expect(code).toBe(ExitCode.ok);
    const heads = stdout.split('\n').filter((line) => line.startsWith('shard '));
    expect(heads).toEqual([0, 2, 10].map((shard) => `shard ${shard} in ${data}`));
    expect(stdout).toContain('its founders, by the map in shard 0: none in log or checkpoint');
    const json = (await inspect('--json')).stdout.trimEnd().split('\n');
    expect(json.map((line) => JSON.parse(line) as object)).toMatchObject([
      { shard: 0, last: 4 },
      { shard: 2, last: 2 },
      { shard: 10, last: 1 },
    ]);
    const one = await inspect('--shard', '2', '--json');
    expect(JSON.parse(one.stdout)).toMatchObject({ shard: 2, last: 2 });
    const none = await inspect('--shard', '1');
    expect([none.code, none.stderr]).toEqual([
      ExitCode.usage,
      `fluxmq: ${data} has no shard 1: it has 0, 2, 10\n`,
    ]);
  });

  it('one that cannot be told hinders no other', async () => {
    await write({ entries: COURSE, clean: true });
    await mkdir(join(data, 'shard-1', 'log'), { recursive: true });
    await write({ entries: COURSE, clean: true, shard: 2 });
    const { code, stdout, stderr } = await inspect();
    expect(code).not.toBe(ExitCode.ok);
    expect(stderr).toMatch(/^fluxmq: shard 1: /);
    expect(stdout).toContain(`shard 2 in ${data}\n`);
  });

  it('a rescue is told, from the log or the checkpoint', async () => {
    const rescue = {
      by: 'ann@host',
      atMs: Date.UTC(2026, 0, 2),
      lastIndex: 7,
      lastTerm: 2,
      givenUp: ['a', 'b'],
    };
    const configuration: Configuration = { ...MEMBERS, rescue };
    const payload = encodeConfiguration(configuration);
    const rescued = entry(2, 1, { kind: 'configuration', configuration, payload });
    await write({ entries: [entry(1, 1), rescued], clean: true });
    const told = 'by ann@host at 2026-01-02T00:00:00.000Z behind entry 7 of term 2, without a, b';
    expect((await inspect()).stdout).toContain(`\n  rescued     ${told}\n`);
    const { by, givenUp } = rescue;
    expect(await inspected()).toMatchObject({
      rescued: { by, last_index: 7, last_term: 2, given_up: givenUp },
    });
    await write({ entries: [entry(1, 1)], clean: true, shard: 1 });
    await checkpointAt(3, 4, { shard: 1, configuration });
    expect((await inspect('--shard', '1')).stdout).toContain(told);
  });

  it('records that cannot be read are told, and the rest is shown', async () => {
    await write({ entries: COURSE, clean: true });
    await checkpointAt(3, 4);
    await writeFile(join(data, 'shard-0', 'records', 'CURRENT'), 'nothing\n');
    const { code, stdout } = await inspect();
    expect(code).toBe(ExitCode.ok);
    expect(stdout).toContain('checkpoint  not readable: ');
    expect(stdout).toContain('a (voter at 127.0.0.1:1)');
  });

  it('a folder that is no data directory is refused', async () => {
    const { code, stderr } = await fluxmq(['raft', 'inspect', root]);
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('is not the data directory of a broker');
  });
});

describe('segment-dump', () => {
  it('shows where terms begin, who the members are, and what was voted', async () => {
    await write({ entries: COURSE, clean: true, vote: 'b' });
    const { code, stdout } = await fluxmq(['segment-dump', data]);
    expect(code).toBe(ExitCode.ok);
    expect(stdout).toContain('      hard state term 3, vote b\n');
    expect(stdout).toMatch(/entry index 1 term 1 .*\n {6}term 1 begins\n/);
    expect(stdout).toContain(
      '      configuration a (voter at 127.0.0.1:1), b (joining at 127.0.0.1:2)\n',
    );
    expect(stdout).toMatch(/entry index 3 term 3 .*\n {6}term 3 begins\n/);
  });

  it('tells programs the same as objects', async () => {
    await write({ entries: COURSE, clean: true });
    const { stdout } = await fluxmq(['segment-dump', '--json', data]);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events).toContainEqual({
      event: 'configuration',
      index: 2,
      term: 1,
      members: MEMBERS.members,
    });
    expect(events).toContainEqual({ event: 'term begins', index: 3, term: 3 });
    expect(events).toContainEqual({
      event: 'hard state',
      term: 3,
      vote: 'b',
      tailLost: false,
    });
  });
});
