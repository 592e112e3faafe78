/** `fluxmq start`: what it says, how it stops, and how it ends when it cannot run. */

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess, scratchDirectory } from '../support/broker-process.ts';
import { Running, fluxmq } from './run-cli.ts';

let scratch = '';
let folders = 0;
const running: Running[] = [];

beforeAll(async () => {
  scratch = await scratchDirectory('cli-start');
});
afterAll(async () => {
  for (const { child } of running) child.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  await rm(scratch, { recursive: true, force: true });
});

function newFolder(): string {
  folders += 1;
  return join(scratch, `data-${folders}`);
}

interface Started {
  readonly broker: Running;
  readonly port: number;
  readonly folder: string;
}

/** Resolves when the broker has greeted. */
async function start(args: readonly string[] = [], folder = newFolder()): Promise<Started> {
  const port = await freePort();
  const set = ['--set', `server.mqtt.tcp.addr=127.0.0.1:${port}`, '-s', 'server.ops.addr=off'];
  const broker = new Running(['start', '--data-dir', folder, ...set, ...args], scratch);
  running.push(broker);
  await broker.says('Ctrl-C stops it.');
  return { broker, port, folder };
}

/** For starts that are refused. */
function refused(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const broker = new Running(['start', '-s', 'server.ops.addr=off', ...args], scratch);
  running.push(broker);
  return broker.ended;
}

describe('a broker that runs', () => {
  it('names ten of its queues and counts the others', async () => {
    const names = Array.from({ length: 12 }, (_none, at) => `q${at}`);
    const queues = names.map((name) => `{name: ${name}}`).join(', ');
    const { broker } = await start(['-s', `queues=[${queues}]`]);
    expect(broker.stdout).toMatch(/queues {11}q0, q1, q2, q3, q4, q5, q6, q7, q8, q9 and 3 more\n/);
  });

  it('says what listens where, where the data is, and how to publish a first message', async () => {
    const { broker, port, folder } = await start();
    expect(broker.stdout).toContain(`127.0.0.1:${port}`);
    expect(broker.stdout).toContain(folder);
    expect(broker.stdout).toContain('orders, mqtt');
    // The line that it tells is a line that works.
    const [, told = ''] = /npx fluxmq (pub .*)\n/.exec(broker.stdout) ?? [];
    const args = [...told.matchAll(/'([^']*)'|(\S+)/g)].map(
      ([, quoted, bare]) => quoted ?? bare ?? '',
    );
    expect(await fluxmq(args)).toMatchObject({
      code: 0,
      stdout: '1 to $queue/orders, acknowledged\n',
    });
    expect(broker.stdout).toContain(`mosquitto_pub -p ${port} -q 1 -t '$queue/orders' -m 'hello'`);
    broker.child.kill('SIGTERM');
    expect((await broker.ended).code).toBe(0);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('%s stops it in order, with 0', async (signal) => {
    const { broker, folder } = await start(['--set', 'log.format=json']);
    broker.child.kill(signal);
    const { code, stderr } = await broker.ended;
    expect(code, stderr).toBe(0);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: string; message: string });
    expect(lines.filter(({ level }) => level !== 'info')).toEqual([]);
    expect(lines.at(-1)?.message).toBe('stopped');
    // The next one finds a clean end.
    const again = await start(['--set', 'log.format=json'], folder);
    expect(again.broker.stderr).toContain('"clean":true');
    again.broker.child.kill('SIGKILL');
  });

  it('a signal in the middle of the start stops what was started, in order, with 0', async () => {
    const folder = newFolder();
    const set = ['log.format=json', 'server.mqtt.tcp.addr=127.0.0.1:0', 'server.ops.addr=off'];
    const args = set.flatMap((each) => ['--set', each]);
    const broker = new Running(['start', '--data-dir', folder, ...args], scratch);
    running.push(broker);
    // The first line comes from the thread of the shards, before anybody may publish.
    await once(broker.child.stderr ?? broker.child, 'data');
    broker.child.kill('SIGINT');
    const { code, stderr } = await broker.ended;
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain('"level":"error"');
    const again = await start(['--set', 'log.format=json'], folder);
    expect(again.broker.stderr).toContain('"clean":true');
    again.broker.child.kill('SIGKILL');
  });

  it.each(['worker', 'main'])(
    'a node that waits for its first leader stops in order on one signal (%s)',
    async (thread) => {
      const ports = await Promise.all([freePort(), freePort(), freePort()]);
      const peers = ports.map((port, at) => `{id: node-${at + 1}, addr: "127.0.0.1:${port}"}`);
      const set = [
        `cluster.listen=127.0.0.1:${ports[0]}`,
        `cluster.peers=[${peers.join(', ')}]`,
        `shards.thread=${thread}`,
        'log.format=json',
      ];
      const broker = await BrokerProcess.prepare('waits', {
        args: set.flatMap((each) => ['--set', each]),
        isUpBySocket: true,
      });
      // Only its admin socket is open.
      await broker.start();
      expect(await broker.stop()).toBe(0);
      expect(broker.output).toContain('"message":"stopped"');
      expect(broker.output).not.toContain('"level":"error"');
      await broker.remove();
    },
  );

  it.each(['worker', 'main'])(
    'a stop whose store fails ends the process with the code of the store (%s)',
    async (thread) => {
      const { broker, port } = await start(['--set', `shards.thread=${thread}`]);
      const topic = ['-p', `${port}`, '-t', '$queue/orders', '-m', 'x'];
      expect((await fluxmq(['pub', ...topic])).code).toBe(0);
      await promisify(execFile)('prlimit', ['--pid', `${broker.child.pid}`, '--fsize=1']);
      broker.child.kill('SIGTERM');
      const { code, stderr } = await broker.ended;
      expect(code, stderr).toBe(ExitCode.storage);
    },
  );

  it('publishes that are acknowledged survive kill -9', async () => {
    const { broker, port, folder } = await start();
    const topic = ['-t', '$queue/orders'];
    await fluxmq(['pub', '-p', `${port}`, ...topic, '--lines'], 'one\ntwo\nthree\n');
    broker.child.kill('SIGKILL');
    await broker.ended;
    const again = await start([], folder);
    const got = await fluxmq(['sub', '-p', `${again.port}`, ...topic, '-c', '3']);
    expect(got.stdout).toBe('one\ntwo\nthree\n');
    again.broker.child.kill('SIGKILL');
  });

  it.each(['worker', 'main'])(
    'a store that fails (shards.thread: %s): no acknowledgement, and an end with its own code',
    async (thread) => {
      const { broker, port } = await start(['--set', `shards.thread=${thread}`]);
      const topic = ['-p', `${port}`, '-t', '$queue/orders', '-m', 'x'];
      expect((await fluxmq(['pub', ...topic])).code).toBe(0);
      // From now on each write beyond the first byte of a file fails with EFBIG.
      await promisify(execFile)('prlimit', ['--pid', `${broker.child.pid}`, '--fsize=1']);
      expect((await fluxmq(['pub', ...topic])).code).not.toBe(0);
      expect((await broker.ended).code).toBe(ExitCode.storage);
    },
  );

  it('S12: neither the log at debug nor the files in clear tell a password', async () => {
    const { broker, port } = await start(['--set', 'log.level=debug', '--set', 'log.format=json']);
    const client = await mqtt.connectAsync({
      host: '127.0.0.1',
      port,
      username: 'somebody',
      password: 'correct-horse-battery',
      protocolVersion: 5,
      will: { topic: 'w', payload: Buffer.from('last-will-of-mine') },
    });
    await client.publishAsync('$queue/orders', 'a-very-private-order', { qos: 1 });
    await client.endAsync();
    broker.child.kill('SIGTERM');
    const { stdout, stderr } = await broker.ended;
    expect(stderr).toContain('client connected');
    expect(stderr).toContain('client disconnected');
    for (const secret of ['correct-horse', 'last-will-of-mine', 'a-very-private']) {
      expect(stdout + stderr).not.toContain(secret);
    }
  });

  it('the log is quiet: publishes and deliveries leave no line', async () => {
    const { broker, port } = await start(['--set', 'log.format=json']);
    const lines = Array.from({ length: 500 }, (_, i) => `${i}\n`).join('');
    await fluxmq(['pub', '-p', `${port}`, '-t', '$queue/orders', '--lines'], lines);
    await fluxmq(['sub', '-p', `${port}`, '-t', '$queue/orders', '-c', '500']);
    broker.child.kill('SIGTERM');
    const { stderr } = await broker.ended;
    expect(stderr.trim().split('\n').length).toBeLessThan(15);
  });

  it('Q16: hostile topics leave nothing outside the data directory', async () => {
    const before = await readdir(scratch);
    const { broker, port, folder } = await start();
    const client = await mqtt.connectAsync({ host: '127.0.0.1', port, protocolVersion: 5 });
    for (const name of ['../../x', '..', '/', '', '$dlq', 'a/../../b', '%2e%2e%2fx']) {
      await client.publishAsync(`$queue/${name}`, 'x', { qos: 1 }).catch(() => undefined);
    }
    await client.endAsync();
    broker.child.kill('SIGTERM');
    await broker.ended;
    const name = folder.slice(scratch.length + 1);
    expect((await readdir(scratch)).filter((entry) => entry !== name).toSorted()).toEqual(
      before.toSorted(),
    );
    const inside = await readdir(folder, { recursive: true });
    expect(
      inside
        .filter((entry) => /x$|dlq|%2e|\.\./.test(entry.split('/').at(-1) ?? ''))
        .filter((entry) => !entry.endsWith('.index')),
    ).toEqual([]);
  });
});

describe('a broker that cannot run says why, with a code of its own', () => {
  it('O1: a wrong configuration: place, key and what is meant', async () => {
    const file = join(scratch, 'wrong.yaml');
    await writeFile(file, 'log:\n  levle: debug\nserver:\n  http: { addr: off }\n');
    const { code, stderr } = await refused(['--config', file]);
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain(`${file}:2:3: log.levle: unknown key: did you mean level?`);
    expect(stderr).toContain(`${file}:4:3: server.http: not available in this version`);
    expect(stderr).not.toContain(' at ');
  });

  it('O1: a missing file, an unknown option, an unknown command', async () => {
    expect(await refused(['--config', join(scratch, 'none.yaml')])).toMatchObject({
      code: ExitCode.usage,
      stderr: expect.stringContaining('none.yaml'),
    });
    expect((await refused(['--confg', 'x'])).stderr).toContain('Did you mean --config?');
    expect(await fluxmq(['strat'])).toMatchObject({
      code: ExitCode.usage,
      stderr: expect.stringContaining('Did you mean start?'),
    });
  });

  it('a listener outside loopback is refused unless allow_anonymous is true', async () => {
    const { code, stderr } = await refused(['--set', 'server.mqtt.tcp.addr=0.0.0.0:18883']);
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('allow_anonymous: true');
  });

  it('an address in use, and nothing is left locked', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const folder = newFolder();
    const args = ['--data-dir', folder, '--set', `server.mqtt.tcp.addr=127.0.0.1:${port}`];
    const { code, stderr } = await refused(args);
    expect(code, stderr).toBe(ExitCode.listener);
    expect(stderr).toContain(
      `cannot listen on 127.0.0.1:${port} (server.mqtt.tcp.addr): another program listens there`,
    );
    server.close();
    await once(server, 'close');
    const { broker } = await start([], folder);
    broker.child.kill('SIGKILL');
  });

  it('a data directory that another broker has', async () => {
    const { broker, folder } = await start();
    const { code, stderr } = await refused([
      '-d',
      folder,
      '-s',
      'server.mqtt.tcp.addr=127.0.0.1:0',
    ]);
    expect(code, stderr).toBe(ExitCode.locked);
    expect(stderr).toContain(`${folder} is in use by another broker (pid ${broker.child.pid}`);
    broker.child.kill('SIGKILL');
    await broker.ended;
  });

  it('a data directory that is not ours, or not a folder', async () => {
    const foreign = newFolder();
    await mkdir(foreign);
    await writeFile(join(foreign, 'thesis.txt'), 'mine');
    expect((await refused(['-d', foreign])).code).toBe(ExitCode.damaged);
    expect(await readdir(foreign)).toEqual(['thesis.txt']);
    const file = await refused(['-d', join(foreign, 'thesis.txt')]);
    expect(file.code, file.stderr).toBe(ExitCode.storage);
    expect(file.stderr).toContain('cannot use the data directory');
    expect(file.stderr).not.toMatch(/^\s+at /m);
  });
});
