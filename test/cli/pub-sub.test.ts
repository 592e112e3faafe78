/** `fluxmq pub` and `fluxmq sub` against a real broker, and against none. */

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { type Ended, Running, fluxmq } from './run-cli.ts';

let broker: BrokerProcess;
beforeAll(async () => {
  const names = ['cli-4', 'cli-5', 'files', 'forms', 'props', 'int', 'orders'];
  const queues = names.map((name) => `{name: ${name}}`).join(', ');
  broker = await BrokerProcess.started('cli', { args: ['--set', `queues=[${queues}]`] });
});
afterAll(() => broker.remove());

const at = (command: string, ...args: string[]): string[] => [
  command,
  '-p',
  String(broker.port),
  ...args,
];
const pub = (args: string[], input?: string): Promise<Ended> => fluxmq(at('pub', ...args), input);
const sub = (...args: string[]): Promise<Ended> => fluxmq(at('sub', ...args));

describe.each(['4', '5'])('MQTT version %s', (version) => {
  const common = ['-V', version, '-t', `$queue/cli-${version}`];

  it.each(['1', '2'])('a message at QoS %s goes through a queue, once', async (qos) => {
    expect((await pub([...common, '-q', qos, '-m', `qos ${qos}`])).code).toBe(0);
    const { code, stdout } = await sub(...common, '-c', '1');
    expect([code, stdout]).toEqual([0, `qos ${qos}\n`]);
    // Settled: the next one is the next one.
    await pub([...common, '-m', 'next']);
    expect((await sub(...common, '-c', '1')).stdout).toBe('next\n');
  });

  it('each line of standard input is a message, in order', async () => {
    const input = Array.from({ length: 300 }, (_, i) => `line ${i}`).join('\n');
    expect((await pub([...common, '--lines'], input)).stdout).toContain('300 to');
    expect((await sub(...common, '-c', '300')).stdout).toBe(`${input}\n`);
  });

  it('--count of sub takes so many, and leaves the rest in the queue', async () => {
    await pub([...common, '--lines'], 'a\nb\nc\nd\n');
    expect((await sub(...common, '-c', '1')).stdout).toBe('a\n');
    expect((await sub(...common, '-c', '3')).stdout).toBe('b\nc\nd\n');
  });
});

describe('payloads and properties', () => {
  it('a file goes through as it is, and JSON tells binary in base64', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fluxmq-pub-'));
    try {
      const bytes = Buffer.from([0, 255, 10, 13, 128]);
      await writeFile(join(folder, 'f'), bytes);
      await pub(['-t', '$queue/files', '-f', join(folder, 'f')]);
      const { stdout } = await sub('-t', '$queue/files', '-c', '1', '--json');
      expect(JSON.parse(stdout)).toMatchObject({
        topic: '$queue/files',
        qos: 1,
        payload_base64: bytes.toString('base64'),
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('standard input as one message, an empty message, and one said n times', async () => {
    const topic = ['-t', '$queue/forms'];
    await pub([...topic, '-f', '-'], 'a\nb');
    await pub([...topic, '-m', '']);
    await pub([...topic, '-m', 'x', '-c', '2']);
    expect((await sub(...topic, '-c', '4', '-v')).stdout).toBe(
      ['a\nb', '', 'x', 'x'].map((payload) => `$queue/forms ${payload}\n`).join(''),
    );
  });

  it('user properties, also repeated ones', async () => {
    const properties = ['-P', 'a=1', '-P', 'a=2', '-P', 'b==x'];
    await pub(['-t', '$queue/props', '-m', 'x', ...properties, '--json']);
    const { stdout } = await sub('-t', '$queue/props', '-c', '1', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      properties: { userProperties: { a: ['1', '2'], b: '=x', queue: 'props' } },
    });
  });

  it('a retained message is there for whoever comes later', async () => {
    await pub(['-t', 'news/today', '-m', 'hello', '-r', '-q', '0']);
    const got = await sub('-t', 'news/+', '-c', '1', '--json');
    expect(JSON.parse(got.stdout)).toMatchObject({ topic: 'news/today', retain: true });
  });
});

describe('what goes wrong is said, with a code of its own', () => {
  it.each([
    ['no topic', ['-m', 'x'], '--topic'],
    ['no message', ['-t', 'x'], 'say one of --message, --file and --lines'],
    ['two messages', ['-t', 'x', '-m', 'a', '-f', 'b'], 'say one of'],
    ['a file that is not there', ['-t', 'x', '-f', '/nowhere/f'], 'cannot read the message'],
    ['a QoS', ['-t', 'x', '-m', 'a', '-q', '3'], 'whole number from 0 to 2'],
    ['properties in 3.1.1', ['-t', 'x', '-m', 'a', '-V', '4', '-P', 'a=b'], 'MQTT 5.0'],
    ['a property without name', ['-t', 'x', '-m', 'a', '-P', '=b'], 'NAME=VALUE'],
    ['a long topic', ['-t', 'x'.repeat(65_536), '-m', 'a'], '1 to 65535 bytes'],
  ])('%s', async (_what, args, text) => {
    const { code, stderr } = await pub(args);
    expect([code, stderr]).toEqual([ExitCode.usage, expect.stringContaining(text)]);
  });

  it('nobody listens', async () => {
    const { code, stderr } = await fluxmq([
      'pub',
      '-p',
      `${await freePort()}`,
      '-t',
      'x',
      '-m',
      'x',
    ]);
    expect(code).toBe(ExitCode.connection);
    expect(stderr).toContain('is a broker running there?');
  });

  it('the broker refuses: a wildcard in a topic, QoS 0 of a queue', async () => {
    expect((await pub(['-t', 'a/#', '-m', 'x'])).code).toBe(ExitCode.refused);
    const queue = await sub('-t', '$queue/orders', '-q', '0', '-c', '1');
    expect([queue.code, queue.stderr]).toEqual([
      ExitCode.refused,
      expect.stringContaining('a queue is consumed at QoS 1'),
    ]);
  });

  it('somebody listens who never answers', async () => {
    const silent = createServer();
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? `${address.port}` : '';
    const { code, stderr } = await fluxmq(['sub', '-p', port, '-t', 'x', '--timeout', '200ms']);
    expect([code, stderr]).toEqual([ExitCode.timeout, expect.stringContaining('no answer within')]);
    silent.close();
  });

  it('the broker dies while sub waits', async () => {
    const other = await BrokerProcess.started('cli-dies');
    const waiting = new Running(['sub', '-p', `${other.port}`, '-t', 'x', '-t', 'y']);
    await fluxmq(['pub', '-p', `${other.port}`, '-t', 'y', '-r', '-q', '0', '-m', 'seen']);
    await waiting.says('seen');
    await other.kill();
    expect((await waiting.ended).code).toBe(ExitCode.connection);
    await other.remove();
  });

  it('sub ends well on SIGINT, and an unread line is not settled', async () => {
    const waiting = new Running(at('sub', '-t', '$queue/int'));
    await pub(['-t', '$queue/int', '-m', 'first']);
    await waiting.says('first');
    waiting.child.kill('SIGINT');
    expect((await waiting.ended).code).toBe(0);
  });
});

describe('help', () => {
  it.each([[[]], [['start']], [['pub']], [['sub']]])(
    '%j --help tells the options',
    async (command) => {
      const { code, stdout } = await fluxmq([...command, '--help']);
      expect(code).toBe(0);
      expect(stdout).toContain('Usage: fluxmq');
    },
  );
});
