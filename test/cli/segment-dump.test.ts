/** `fluxmq segment-dump` as a process, on the data of a real broker that was killed. */

import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess, REPOSITORY } from '../support/broker-process.ts';
import { fluxmq } from './run-cli.ts';

const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const MESSAGES = 30;
const SECTOR = 512;

let broker: BrokerProcess;
let log = '';
let segment = '';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function dump(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { maxBuffer: 64 * 2 ** 20 };
    const child = execFile(
      process.execPath,
      [PROGRAM, 'segment-dump', ...args],
      options,
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** The most memory that a dump took, in MiB, at its end; its output is read and thrown away. */
function peakMiB(...args: readonly string[]): Promise<number> {
  const tell = 'process.on("exit", () => console.error(process.resourceUsage().maxRSS))';
  const script = `data:text/javascript,${encodeURIComponent(tell)}`;
  const child = spawn(process.execPath, ['--import', script, PROGRAM, 'segment-dump', ...args]);
  child.stdout.resume();
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  return once(child, 'close').then(() => Number(said) / 1024);
}

async function events(...args: readonly string[]): Promise<Record<string, unknown>[]> {
  const { stdout } = await dump('--json', ...args);
  const lines = stdout.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function digest(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const one of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(one.parentPath, one.name);
    hash.update(path);
    if (one.isFile()) hash.update(await readFile(path));
  }
  return hash.digest('hex');
}

beforeAll(async () => {
  broker = await BrokerProcess.started('dump');
  const client = await mqtt.connectAsync({ host: '127.0.0.1', port: broker.port });
  for (let i = 0; i < MESSAGES; i += 1) {
    await client.publishAsync('$queue/orders/eu', `order ${i}`, { qos: 1 });
  }
  await client.endAsync();
  await broker.kill();
  log = join(broker.dataDirectory, 'shard-0', 'log');
  const name = (await readdir(log)).find((one) => one.endsWith('.log')) ?? '';
  segment = join(log, name);
});

afterAll(async () => {
  await broker.remove();
});

describe('segment-dump', () => {
  test('prints batches, commands, queues and offsets, and changes no byte', async () => {
    const before = await digest(broker.dataDirectory);
    const { code, stdout } = await dump(broker.dataDirectory);
    expect(code).toBe(0);
    expect(stdout).toContain('not closed in order');
    expect(stdout).toMatch(/declare-queue orders/);
    expect(stdout).toMatch(/enqueue node-1\/\d+\/\d+ orders at 29 topic \$queue\/orders\/eu/);
    expect(stdout).toContain('no damage');
    expect(await digest(broker.dataDirectory)).toBe(before);
  });

  test('--json has one object a line, with payloads only where they are asked for', async () => {
    const all = await events(log, '--payload');
    const enqueues = all.filter((event) => event['command'] === 'enqueue');
    expect(enqueues).toHaveLength(MESSAGES);
    expect(enqueues.map((event) => Object.values(event['offsets'] as object)[0])).toEqual(
      Array.from({ length: MESSAGES }, (_, i) => i),
    );
    expect(Buffer.from(String(enqueues[7]?.['payload']), 'base64').toString()).toBe('order 7');
    const bare = await events(log);
    expect(bare.some((event) => event['payload'] !== undefined)).toBe(false);
    expect((await dump(log, '--payload')).stdout).toMatch(/ topic .*, 7 B: .*\n +order 7\n/);
    expect((await dump(log)).stdout).not.toContain('order 7');
  });

  test('a settlement is told with its queue, its offset and what came of it', async () => {
    const directory = join(broker.dataDirectory, '..', 'settled');
    const other = await BrokerProcess.started('dump', { dataDirectory: directory });
    const at = ['-p', String(other.port), '-t', '$queue/orders'];
    await fluxmq(['pub', ...at, '-m', 'one']);
    await fluxmq(['sub', ...at, '-c', '1']);
    await other.stop();
    const { code, stdout } = await dump(directory);
    expect(code).toBe(0);
    expect(stdout).toContain(', closed in order;');
    expect(stdout).toContain('settle orders offset 0 complete (client): settled');
  });

  test('--from, --to and --queue choose; a queue is named by name or number', async () => {
    const batches = (await events(log)).filter((event) => event['batch'] === 'entry');
    const index = Number(batches[5]?.['index']);
    const chosen = await events(log, '--from', String(index), '--to', String(index));
    const entries = chosen.filter((event) => event['batch'] === 'entry');
    expect(entries.map((event) => event['index'])).toEqual([index]);
    const named = (await events(log, '--queue', 'orders')).filter((event) => event['queues']);
    expect(named.filter((event) => event['command'] === 'enqueue')).toHaveLength(MESSAGES);
    const none = await events(log, '--queue', 'mqtt');
    expect(none.some((event) => event['command'] === 'enqueue')).toBe(false);
  });

  test('one segment alone is read too, and says what it cannot know', async () => {
    const { code, stdout } = await dump(segment);
    expect(code).toBe(0);
    expect(stdout).toContain('one segment alone');
  });

  test('D4: a flipped bit is damage with its place and exit status 1, also with --verify', async () => {
    const batches = (await events(log)).filter((event) => event['batch'] === 'entry');
    const victim = batches[10];
    const position = Number(victim?.['position']) + 90;
    const file = await open(segment, 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, position);
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, position);
    try {
      for (const flags of [[], ['--verify']]) {
        const { code, stdout } = await dump(log, ...flags);
        expect(code).toBe(1);
        expect(stdout).toContain(`DAMAGED: indexes ${String(victim?.['index'])} to`);
      }
    } finally {
      await file.write(byte, 0, 1, position);
      await file.close();
    }
  });

  test('D4: a torn tail is no damage: it is named, with exit status 0', async () => {
    const torn = join(broker.dataDirectory, '..', 'torn');
    const other = await BrokerProcess.started('dump', { dataDirectory: torn });
    const at = ['-p', String(other.port), '-t', '$queue/orders'];
    expect((await fluxmq(['pub', ...at, '-f', '-'], 'x'.repeat(8192))).code).toBe(0);
    await other.kill();
    const last = (await events(torn)).findLast((event) => event['batch'] === 'entry');
    const position = Number(last?.['position']);
    const file = await open(join(torn, 'shard-0', 'log', basename(segment)), 'r+');
    // Of the last write only the first sector reached the disk.
    const { size } = await file.stat();
    const from = (Math.floor(position / SECTOR) + 1) * SECTOR;
    await file.write(Buffer.alloc(size - from), 0, size - from, from);
    await file.close();
    for (const flags of [[], ['--verify']]) {
      const { code, stdout } = await dump(torn, ...flags);
      expect(code, stdout).toBe(0);
      expect(stdout).toContain(`cut a torn write at byte ${position} of segment`);
    }
    expect((await dump(torn, '--verify')).stdout).not.toContain(' entry index ');
  });

  test('memory does not grow with the log', async () => {
    const directory = join(broker.dataDirectory, '..', 'large');
    const payload = join(broker.dataDirectory, 'payload');
    await writeFile(payload, randomBytes(32 * 1024));
    const other = await BrokerProcess.started('dump', { dataDirectory: directory });
    const at = ['-p', String(other.port), '-t', '$queue/orders'];
    expect((await fluxmq(['pub', ...at, '-f', payload, '-c', '4096'])).code).toBe(0);
    await other.kill();
    const logMiB = 128;
    for (const flags of [['--json', '--payload'], ['--verify']]) {
      const small = await peakMiB(log, ...flags);
      expect(small).toBeGreaterThan(10);
      expect((await peakMiB(directory, ...flags)) - small).toBeLessThan(logMiB / 2);
    }
  });

  test('what is not ours or not there is told in words, with exit status 2', async () => {
    const foreign = join(broker.dataDirectory, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, '00000000000000000001-1.log'), Buffer.alloc(5000, 0x41));
    await writeFile(join(foreign, 'notes.txt'), 'nothing of a broker');
    const cases = [
      [foreign, 'not ours'],
      [join(foreign, '00000000000000000001-1.log'), 'not ours'],
      [join(foreign, 'notes.txt'), 'is neither a segment'],
      ['/nowhere', 'there is nothing at /nowhere'],
    ] as const;
    for (const [path, words] of cases) {
      const { code, stderr } = await dump(path);
      expect(code, stderr).toBe(2);
      expect(stderr).toContain(words);
      expect(stderr).not.toContain('unexpected');
    }
  });
});
