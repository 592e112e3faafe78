/**
 * `npm run cluster` as its users run it, on three files with ports of their own: it shows who
 * leads, and a signal stops everything that it started, in order.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type Server, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { REPOSITORY, scratchDirectory } from '../support/broker-process.ts';

const PROGRAM = join(REPOSITORY, 'dist/examples/cluster/cluster.js');
const IDS = ['n1', 'n2', 'n3'];

let root = '';
let child: ChildProcess | undefined;
let said = '';
let ended: Promise<unknown> = Promise.resolve();
let taken: Server | undefined;

beforeEach(async () => {
  root = await scratchDirectory('cluster-example');
});
afterEach(async () => {
  // It stops its brokers; only then their folders may go.
  child?.kill('SIGTERM');
  await ended;
  taken?.close();
  taken = undefined;
  await rm(root, { recursive: true, force: true });
});

async function filesFor(mqttPorts: readonly number[]): Promise<string[]> {
  await mkdir(root, { recursive: true });
  const peers = await Promise.all(
    IDS.map(async (id) => ({ id, addr: `127.0.0.1:${await freePort()}` })),
  );
  return Promise.all(
    peers.map(async ({ id, addr }, nth) => {
      const file = join(root, `${id}.yaml`);
      const config = {
        node: { id },
        server: { mqtt: { tcp: { addr: `127.0.0.1:${mqttPorts[nth]}` } }, ops: { addr: 'off' } },
        storage: { segment_size: '4MiB', reserve: '8MiB' },
        cluster: { listen: addr, peers },
      };
      await writeFile(file, JSON.stringify(config));
      return file;
    }),
  );
}

function run(files: readonly string[]): void {
  said = '';
  const started = spawn(process.execPath, [PROGRAM, '--data', join(root, 'data'), ...files], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  const keep = (text: string): void => {
    said += text;
  };
  started.stdout.setEncoding('utf8').on('data', keep);
  started.stderr.setEncoding('utf8').on('data', keep);
  ended = once(started, 'close');
}

async function says(pattern: RegExp): Promise<void> {
  while (!pattern.test(said)) {
    const { stdout } = child ?? {};
    if (stdout === null || stdout === undefined) throw new Error('it does not run');
    const next = await Promise.race([once(stdout, 'data'), ended.then(() => 'ended')]);
    if (next === 'ended' && !pattern.test(said)) throw new Error(`it ended with: ${said}`);
  }
}

function answers(id: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ path: join(root, 'data', id, 'admin.sock') });
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}

it('shows three nodes and their leader, and a signal stops all of them', async () => {
  run(await filesFor(await Promise.all(IDS.map(() => freePort()))));
  await says(/shard 0: n\d leads in term \d+, 3 voters\n/);
  for (const id of IDS) await says(new RegExp(`0 +${id} +voter +(leader|follower) `));
  expect(await Promise.all(IDS.map((id) => answers(id)))).toEqual([true, true, true]);
  child?.kill('SIGINT');
  await ended;
  expect(said).toContain('stopped; the data stays in');
  expect(said).not.toContain('killed');
  expect(child?.exitCode).toBe(0);
  expect(await Promise.all(IDS.map((id) => answers(id)))).toEqual([false, false, false]);
  for (const id of IDS) {
    expect(await readFile(join(root, 'data', `${id}.log`), 'utf8')).toContain('"stopped"');
  }
});

it('a node that cannot start is told with its last words, and nothing is left running', async () => {
  taken = createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const files = await filesFor(await Promise.all(IDS.map(() => freePort())));
  const [first = '', ...rest] = files;
  const config = JSON.parse(await readFile(first, 'utf8')) as { cluster: { listen: string } };
  const wrong = { ...config, cluster: { ...config.cluster, listen: `127.0.0.1:${port}` } };
  await writeFile(first, JSON.stringify(wrong));
  run([first, ...rest]);
  await ended;
  expect(child?.exitCode).toBe(1);
  expect(said).toContain('n1 did not start');
  expect(said).toContain('cannot listen for other nodes');
  expect(await Promise.all(IDS.map((id) => answers(id)))).toEqual([false, false, false]);
});
