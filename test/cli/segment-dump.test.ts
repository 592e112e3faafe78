/** `fluxmq segment-dump` as a process, on the data of a real broker that was killed. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess, REPOSITORY } from '../support/broker-process.ts';

const LAUNCHER = join(REPOSITORY, 'dist/src/cli/launcher.cjs');
const MESSAGES = 30;

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
      [LAUNCHER, 'segment-dump', ...args],
      options,
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

async function events(...args: readonly string[]): Promise<Record<string, unknown>[]> {
  const { stdout } = await dump('--json', ...args);
  const lines = stdout.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function digest(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of await readdir(directory)) {
    hash.update(name).update(await readFile(join(directory, name)));
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
    const before = await digest(log);
    const { code, stdout } = await dump(broker.dataDirectory);
    expect(code).toBe(0);
    expect(stdout).toContain('not closed in order');
    expect(stdout).toMatch(/declare-queue orders/);
    expect(stdout).toMatch(/enqueue node-1\/\d+\/\d+ orders at 29 topic \$queue\/orders\/eu/);
    expect(stdout).toContain('no damage');
    expect(await digest(log)).toBe(before);
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

  test('what is not ours or not there is told in words, with exit status 2', async () => {
    const foreign = join(broker.dataDirectory, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, '00000000000000000001-1.log'), Buffer.alloc(5000, 0x41));
    for (const path of [foreign, join(foreign, '00000000000000000001-1.log'), '/nowhere']) {
      const { code, stderr } = await dump(path);
      expect(code, stderr).toBe(2);
      expect(stderr).not.toContain('unexpected');
    }
  });
});
