/**
 * `fluxmq queue` and `fluxmq group` as processes, against an admin server in this one: what is
 * asked of the broker, what people and programs read, and how it ends when it cannot be done.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { ScriptedBroker } from '../support/admin-server.ts';
import type { FakeQueueAdmin } from '../support/fake-queue-admin.ts';
import { fakeDefinition } from '../support/fake-queue-admin.ts';
import { type Ended, Running, fluxmq } from './run-cli.ts';

const LAUNCHER = join(import.meta.dirname, '../../dist/src/cli/launcher.cjs');

let broker: ScriptedBroker;
let admin: FakeQueueAdmin;

beforeAll(async () => {
  broker = await ScriptedBroker.started('cli-queue');
  ({ admin } = broker);
});
afterAll(() => broker.remove());
beforeEach(() => {
  admin.queues.clear();
  admin.asked.length = 0;
});
afterEach(() => {
  admin.gate = () => Promise.resolve();
});

const run = (...args: readonly string[]): Promise<Ended> =>
  fluxmq([...args, '--data', broker.folder]);

/** What a command that must succeed printed. */
async function told(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect(stderr).toBe('');
  expect(code).toBe(ExitCode.ok);
  return stdout;
}

async function objects(...args: readonly string[]): Promise<unknown[]> {
  const lines = (await told(...args, '--json')).trimEnd().split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);
}

describe('queue list', () => {
  it('is a table of aligned columns, in order of name, nothing cut in a pipe', async () => {
    const long = `a-${'x'.repeat(150)}`;
    admin.add(fakeDefinition(long));
    admin.add(fakeDefinition('orders', { type: 'stream' }), [{ consumers: 3 }]);
    for (let i = 0; i < 1234; i += 1) admin.publish('orders', '');
    const lines = (await told('queue', 'list')).trimEnd().split('\n');
    expect(lines.map((line) => line.replaceAll(/ {2,}/g, '|'))).toEqual([
      'QUEUE|TYPE|DEPTH|CONSUMERS|LEAVING|FIRST|NEXT',
      `${long}|classic|0|0|0|0|0`,
      'orders|stream|1,234|3|0|0|1234',
    ]);
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });

  it('fits a terminal, whatever names there are', async () => {
    admin.add(fakeDefinition(`a-${'x'.repeat(150)}`));
    admin.add(fakeDefinition('\u5bff\u53f8-orders'));
    const shown = await onTerminal(`queue list --data '${broker.folder}'`, 70);
    const lines = shown.stdout.split('\r\n').filter((line) => line !== '');
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(70);
    expect(lines[1]).toContain('\u2026  classic');
  });

  it('tells programs a queue a line', async () => {
    admin.add(fakeDefinition('orders'), [{ consumers: 3, floor: 1 }]);
    admin.publish('orders', 'a');
    admin.publish('orders', 'b');
    expect(await objects('queue', 'list')).toEqual([
      {
        queue: 'orders',
        queue_id: expect.any(Number) as number,
        type: 'classic',
        topics: ['$queue/orders/#'],
        start: 0,
        next: 2,
        depth: 1,
        consumers: 3,
        leaving: 0,
      },
    ]);
  });

  it('a list of 5,000 queues is whole, and a broker without queues says so', async () => {
    expect(await told('queue', 'list')).toBe('no queues\n');
    expect(await told('queue', 'list', '--json')).toBe('');
    for (let i = 0; i < 5_000; i += 1) admin.add(fakeDefinition(`queue-${i}`));
    const names = (await objects('queue', 'list')).map((each) => (each as { queue: string }).queue);
    expect(names).toEqual([...admin.queues.keys()].sort());
  });

  it('--watch goes on until it is ended, and tells how fast messages come', async () => {
    admin.add(fakeDefinition('orders'));
    const args = ['queue', 'list', '--watch', '100ms', '--data', broker.folder];
    const running = new Running(args);
    await running.says('orders');
    for (let i = 0; i < 50; i += 1) admin.publish('orders', '');
    await running.says('IN/S');
    running.child.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(ExitCode.ok);
    expect(stdout).not.toContain('\x1b');
  });

  it('--watch on a terminal draws each frame over the one before', async () => {
    admin.add(fakeDefinition('orders'));
    const command = `queue list --watch 100ms --data '${broker.folder}'`;
    const { stdout } = await onTerminal(command, 80, { prefix: 'timeout -s INT 3' });
    expect(stdout.split('\x1b[H').length).toBeGreaterThan(2);
    expect(stdout).toContain('\x1b[J');
  });
});

describe('queue show', () => {
  it('tells groups, what holds space, damage, and limits that are not defaults', async () => {
    const limits = { ...DEFAULT_LIMITS, ttlMs: 3_600_000, deadLetter: '$dlq/orders' };
    const queue = admin.add(fakeDefinition('orders', { limits }), [
      { name: 'default', consumers: 2, delivered: 5 },
      { name: 'audit@eu/#', kind: 'automatic', filter: 'eu/#', floor: 3, stuck: 3 },
    ]);
    for (let i = 0; i < 9; i += 1) admin.publish('orders', '');
    queue.heldBy = { group: 'default', offset: 0 as never };
    queue.damaged = [
      [3, 4],
      [7, 7],
    ] as never;
    const shown = (await told('queue', 'show', 'orders')).replaceAll(/ {2,}/g, '|');
    expect(shown.split('\n')).toEqual([
      expect.stringMatching(/^orders: classic, number \d+$/),
      '|topics|$queue/orders/#',
      '|offsets|0 to 8',
      '|depth|9',
      '|consumers|2',
      '|space held by|offset 0, group default',
      '|damaged offsets|3-4, 7',
      '|message_ttl|1h',
      '',
      'GROUP|KIND|FILTER|FLOOR|DEPTH|DELIVERED|CONSUMERS|STUCK AT',
      'default|explicit|-|0|9|5|2|-',
      'audit@eu/#|automatic|eu/#|3|6|0|0|3',
      '',
    ]);
    expect(await told('queue', 'show', 'orders', '--all')).toContain('visibility_timeout');
  });

  it('tells programs everything, limits in numbers', async () => {
    admin.add(fakeDefinition('orders'), [{ name: 'default' }]);
    const [detail] = (await objects('queue', 'show', 'orders')) as Record<string, unknown>[];
    expect(detail).toMatchObject({
      queue: 'orders',
      held_by: null,
      damaged: [],
      limits: {
        retry: { min_ms: 1000, max_ms: 60_000, multiplier: 2, jitter: 0.2 },
        retention: { age_ms: 0, bytes: 0, messages: 0 },
        visibility_timeout_ms: 30_000,
        single_active_consumer: false,
        dead_letter: '',
      },
      groups: [{ queue: 'orders', group: 'default', floor: 0, stuck: null }],
    });
  });

  it('an unknown queue is refused, with its name', async () => {
    const { code, stderr, stdout } = await run('queue', 'show', 'nope');
    expect([code, stderr, stdout]).toEqual([
      ExitCode.refused,
      'fluxmq: there is no queue nope\n',
      '',
    ]);
  });
});

describe('queue declare', () => {
  it('takes the names, units and words of the configuration file', async () => {
    const options = [
      '--type classic --topic $queue/orders/# --topic m/+ --ttl 1h30m --max-messages 1000',
      '--max-bytes 1.5GiB --overflow drop-head --retention-age 7d --dlq off --priority 9',
      '--single-active-consumer --retry-min 250ms --retry-jitter 0.5 --capture async',
    ].flatMap((line) => line.split(' '));
    expect(await told('queue', 'declare', 'orders', ...options)).toBe('orders: made\n');
    expect(admin.queues.get('orders')?.definition).toEqual({
      name: 'orders',
      type: 'classic',
      topics: ['$queue/orders/#', 'm/+'],
      limits: {
        ...DEFAULT_LIMITS,
        ttlMs: 5_400_000,
        maxMessages: 1000,
        maxBytes: 1.5 * 2 ** 30,
        overflow: 'drop-head',
        retention: { ageMs: 7 * 86_400_000, bytes: 0, messages: 0 },
        deadLetter: '',
        maxPriority: 9,
        singleActiveConsumer: true,
        retry: { ...DEFAULT_LIMITS.retry, minMs: 250, jitter: 0.5 },
        capture: 'async',
      },
    });
  });

  it('a second one says what it changed', async () => {
    await told('queue', 'declare', 'orders', '--ttl', '1h');
    expect(await told('queue', 'declare', 'orders', '--message-ttl', '1h')).toBe(
      'orders: there already, with these limits\n',
    );
    expect(await told('queue', 'declare', 'orders', '--max-messages', '5')).toBe(
      'orders: changed\n  message_ttl: 1h -> 0s\n  max_length.messages: 0 -> 5\n',
    );
    expect(await objects('queue', 'declare', 'orders')).toEqual([
      { queue: 'orders', outcome: 'updated' },
    ]);
  });

  it('every problem is told at once, by the name of its option, and nothing is asked', async () => {
    const options = ['--ttl', '5', '--type', 'strem', '--max-messages', 'many', '--topic', 'a/#/b'];
    const { code, stderr } = await run('queue', 'declare', 'or/ders', ...options);
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain("--ttl: '5' is not a duration: write 5s or 5ms");
    expect(stderr).toContain('--type:');
    expect(stderr).toContain('did you mean stream?');
    expect(stderr).toContain("--max-messages: 'many' is not a whole number");
    expect(stderr).toContain('--topic: # may only be the whole last level');
    expect(stderr).toContain('the name: holds /');
    expect(admin.asked).toEqual([]);
  });

  it('what does not go together is refused as in the file', async () => {
    const { code, stderr } = await run('queue', 'declare', 'a', '--overflow', 'drop-head');
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('--overflow: needs max_length');
  });

  it('another type than it has is refused by the broker', async () => {
    admin.add(fakeDefinition('orders', { type: 'stream' }));
    const { code, stderr } = await run('queue', 'declare', 'orders');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('stream');
  });
});

describe('what cannot be undone', () => {
  const commands = [
    ['purge', 'orders'],
    ['delete', 'orders'],
  ] as const;

  it.each(commands)('queue %s asks for --yes where nobody can be asked', async (...command) => {
    admin.add(fakeDefinition('orders'));
    admin.publish('orders', '');
    const { code, stderr } = await run('queue', ...command);
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('1 message');
    expect(stderr).toContain('--yes');
    expect(admin.asked).toEqual(['show: orders']);
  });

  it.each([
    ['n', ExitCode.refused, 'not confirmed'],
    ['', ExitCode.refused, 'not confirmed'],
    ['y', ExitCode.ok, '1 message purged'],
  ])('on a terminal "%s" is an answer', async (answer, code, told) => {
    admin.add(fakeDefinition('orders'));
    admin.publish('orders', '');
    const command = `queue purge orders --data '${broker.folder}'`;
    const ended = await onTerminal(command, 80, { input: `${answer}\n` });
    expect(ended.stdout).toContain('Purge 1 message of orders? [y/N]');
    expect(ended.stdout).toContain(told);
    expect(ended.status).toBe(code);
  });

  it('purge of one group, of all, and delete', async () => {
    admin.add(fakeDefinition('orders'), [{ name: 'a' }, { name: 'b' }]);
    for (let i = 0; i < 1500; i += 1) admin.publish('orders', '');
    expect(await told('queue', 'purge', 'orders', '--group', 'a', '--yes')).toBe(
      'orders: 1,500 messages purged for the group a\n',
    );
    expect(await objects('queue', 'purge', 'orders', '-y')).toEqual([
      { queue: 'orders', group: null, purged: 1500 },
    ]);
    expect(await told('queue', 'delete', 'orders', '-y')).toBe('orders: deleted\n');
    expect(admin.queues.size).toBe(0);
  });
});

describe('queue peek', () => {
  it('prints text as text, everything else as base64, and nothing that moves a cursor', async () => {
    admin.add(fakeDefinition('orders'));
    admin.publish('orders', 'two cups\nof tea', {
      topic: '$queue/orders/eu',
      properties: { contentType: 'text/plain', userProperties: [['table', '7\x1b[2J']] },
    });
    admin.publish('orders', Buffer.from([0, 255, 10]), { retain: true, qos: 2 });
    admin.publish('orders', 'a\x1b[31mred');
    admin.publish('orders', '');
    const shown = await told('queue', 'peek', 'orders');
    expect(shown).not.toContain('\x1b');
    expect(shown.split('\n')).toEqual([
      'offset 0  2026-01-02 03:04:05.678Z  $queue/orders/eu  qos 1  15 B  from till-1',
      '  content_type: text/plain',
      '  table = 7\\x1b[2J',
      '  two cups',
      '  of tea',
      'offset 1  2026-01-02 03:04:05.678Z  $queue/orders  qos 2, retained  3 B  from till-1',
      '  payload in base64:',
      '  AP8K',
      'offset 2  2026-01-02 03:04:05.678Z  $queue/orders  qos 1  9 B  from till-1',
      '  payload in base64:',
      `  ${Buffer.from('a\x1b[31mred').toString('base64')}`,
      'offset 3  2026-01-02 03:04:05.678Z  $queue/orders  qos 1  0 B  from till-1',
      '  (empty)',
      '',
    ]);
    expect(admin.asked.some((call) => /^(purge|move|seek)/.test(call))).toBe(false);
  });

  it('tells programs every property, payloads without loss', async () => {
    admin.add(fakeDefinition('orders'));
    const payload = Buffer.from([0, 255, 10]);
    admin.publish('orders', payload, {
      properties: {
        correlationId: Buffer.from([1, 2]),
        userProperties: [
          ['a', '1'],
          ['a', '2'],
        ],
        priority: 3,
      },
    });
    admin.publish('orders', 'text');
    const [first, second] = (await objects('queue', 'peek', 'orders')) as Record<string, unknown>[];
    expect(first).toEqual({
      offset: 0,
      published_at_ms: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      client_id: 'till-1',
      protocol: 'mqtt',
      topic: '$queue/orders',
      qos: 1,
      retain: false,
      payload_base64: payload.toString('base64'),
      properties: {
        correlation_id_base64: 'AQI=',
        user_properties: [
          ['a', '1'],
          ['a', '2'],
        ],
        priority: 3,
      },
    });
    expect(second).toMatchObject({ payload: 'text', properties: {} });
  });

  it('begins where it is told, and ends after so many', async () => {
    admin.add(fakeDefinition('orders'));
    for (let i = 0; i < 3_000; i += 1) admin.publish('orders', `${i}`);
    const offsets = async (...args: string[]): Promise<number[]> =>
      (await objects('queue', 'peek', 'orders', ...args)).map(
        (each) => (each as { offset: number }).offset,
      );
    expect(await offsets()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await offsets('--from', '2998')).toEqual([2998, 2999]);
    expect(await offsets('--last', '-n', '3')).toEqual([2997, 2998, 2999]);
    expect(await offsets('-n', '2500')).toHaveLength(2500);
    expect(await told('queue', 'peek', 'orders', '--from', '3000')).toBe('no messages\n');
  });

  it('a long payload is cut for people, unless they ask for it', async () => {
    admin.add(fakeDefinition('orders'));
    admin.publish('orders', 'x'.repeat(100_000));
    const cut = await told('queue', 'peek', 'orders');
    expect(cut.length).toBeLessThan(3_000);
    expect(cut).toContain('97952 more characters: --full shows them');
    expect(await told('queue', 'peek', 'orders', '--full')).toContain('x'.repeat(100_000));
  });
});

describe('queue move and seek', () => {
  it('move names the only group by itself, and wants one named where there are several', async () => {
    admin.add(fakeDefinition('$dlq/orders'));
    admin.add(fakeDefinition('orders'));
    for (let i = 0; i < 3; i += 1) admin.publish('$dlq/orders', '');
    expect(await told('queue', 'move', '$dlq/orders', 'orders', '--max', '1')).toBe(
      '$dlq/orders: 1 message on the way to orders\n',
    );
    expect(await objects('queue', 'move', '$dlq/orders', '--to-source')).toEqual([
      { queue: '$dlq/orders', group: 'default', to: null, moved: 2 },
    ]);
    admin.add(fakeDefinition('bills'), [{ name: 'a' }, { name: 'b' }]);
    const several = await run('queue', 'move', 'bills', 'orders');
    expect([several.code, several.stderr]).toEqual([
      ExitCode.usage,
      'fluxmq: bills has 2 groups, name one with --group: a, b\n',
    ]);
    expect(await told('queue', 'move', 'bills', 'orders', '-g', 'b')).toContain('0 messages');
  });

  it('move wants one place to go to', async () => {
    for (const args of [['a'], ['a', 'b', '--to-source']]) {
      const { code, stderr } = await run('queue', 'move', ...args);
      expect([code, stderr]).toEqual([
        ExitCode.usage,
        'fluxmq: say where to: the name of a queue, or --to-source\n',
      ]);
    }
  });

  it.each([
    ['first', '{"kind":"first"}'],
    ['last', '{"kind":"last"}'],
    ['next', '{"kind":"next"}'],
    ['12345678901', '{"kind":"offset","offset":12345678901}'],
    ['2026-01-02T03:04:05Z', `{"kind":"time","ms":${Date.UTC(2026, 0, 2, 3, 4, 5)}}`],
    ['2026-01-02T03:04:05+01:00', `{"kind":"time","ms":${Date.UTC(2026, 0, 2, 2, 4, 5)}}`],
  ])('seek %s', async (written, position) => {
    admin.add(fakeDefinition('events', { type: 'stream' }), [{ name: 'audit' }]);
    expect(await told('queue', 'seek', 'events', 'audit', written)).toMatch(
      /^events: the group audit is at offset \d+\n$/,
    );
    expect(admin.asked).toEqual([`seek: events audit ${position}`]);
  });

  it('seek to so long ago', async () => {
    admin.add(fakeDefinition('events', { type: 'stream' }), [{ name: 'audit' }]);
    const before = Date.now();
    await told('queue', 'seek', 'events', 'audit', '2h');
    const { ms } = JSON.parse(admin.asked[0]?.replace(/^.*audit /, '') ?? '') as { ms: number };
    expect(ms).toBeGreaterThanOrEqual(before - 7_200_000);
    expect(ms).toBeLessThanOrEqual(Date.now() - 7_200_000);
  });

  it('seek elsewhere is refused before anything is asked; back in a classic queue by the broker', async () => {
    const nowhere = await run('queue', 'seek', 'events', 'audit', 'yesterday');
    expect(nowhere.code).toBe(ExitCode.usage);
    expect(nowhere.stderr).toContain("'yesterday' is no place in a queue");
    expect(admin.asked).toEqual([]);
    admin.add(fakeDefinition('orders'), [{ name: 'a', floor: 1 }]);
    expect((await run('queue', 'seek', 'orders', 'a', 'first')).code).toBe(ExitCode.refused);
  });
});

describe('group', () => {
  it('list: of one queue, or of all', async () => {
    admin.add(fakeDefinition('bills'), [{ name: 'b' }]);
    admin.add(fakeDefinition('orders'), [{ name: 'a', consumers: 1 }, { name: 'z@eu/#' }]);
    const all = (await told('group', 'list')).trimEnd().split('\n');
    expect(all.map((line) => line.split(/ +/).slice(0, 2))).toEqual([
      ['QUEUE', 'GROUP'],
      ['bills', 'b'],
      ['orders', 'a'],
      ['orders', 'z@eu/#'],
    ]);
    expect(await objects('group', 'list', 'bills')).toEqual([
      {
        queue: 'bills',
        group: 'b',
        kind: 'explicit',
        filter: '',
        floor: 0,
        depth: 0,
        delivered: 0,
        consumers: 0,
        stuck: null,
      },
    ]);
    expect((await run('group', 'list', 'nope')).code).toBe(ExitCode.refused);
  });

  it('delete: one in use is refused', async () => {
    admin.add(fakeDefinition('orders'), [{ name: 'a', consumers: 1 }, { name: 'b' }]);
    expect((await run('group', 'delete', 'orders', 'a', '--yes')).code).toBe(ExitCode.refused);
    expect((await run('group', 'delete', 'orders', 'b')).code).toBe(ExitCode.usage);
    expect(await told('group', 'delete', 'orders', 'b', '--yes')).toBe(
      'the group b of orders: deleted\n',
    );
  });
});

describe('which broker', () => {
  it('where none runs, says so and how to name one', async () => {
    const { code, stderr } = await fluxmq(['queue', 'list', '--data', '/nowhere/at all']);
    expect(code).toBe(ExitCode.connection);
    expect(stderr).toContain('no broker runs here: there is no /nowhere/at all/admin.sock');
    expect(stderr).toContain('--data DIR or --config FILE');
  });

  it('by its socket, or by the key that moved it', async () => {
    const socket = join(broker.folder, 'admin.sock');
    for (const args of [
      ['--socket', socket],
      ['--set', `admin.socket=${socket}`],
    ]) {
      expect((await fluxmq(['queue', 'list', ...args])).stdout).toBe('no queues\n');
    }
    const off = await fluxmq(['queue', 'list', '--set', 'admin.socket=off']);
    expect([off.code, off.stderr]).toEqual([
      ExitCode.usage,
      'fluxmq: admin.socket is off: this broker takes no commands\n',
    ]);
  });

  it('no answer within --timeout has a code of its own', async () => {
    admin.gate = () => new Promise(() => undefined);
    const { code, stderr } = await run('queue', 'list', '--timeout', '200ms');
    expect(code).toBe(ExitCode.timeout);
    expect(stderr).toMatch(/^fluxmq: .+\n$/);
  });

  it('a reader that is gone is no error', async () => {
    for (let i = 0; i < 3_000; i += 1) admin.add(fakeDefinition(`queue-${i}`));
    const command = `'${process.execPath}' '${LAUNCHER}' queue list --json --data '${broker.folder}'`;
    const { stderr } = await output('bash', ['-c', `${command} | head -1`]);
    expect(stderr).toBe('');
  });
});

/** On a terminal of so many columns (util-linux `script`), both outputs in one. */
function onTerminal(command: string, columns: number, how: OnTerminal = {}): Promise<Output> {
  const program = `${how.prefix ?? ''} '${process.execPath}' '${LAUNCHER}' ${command}`;
  const line = `stty cols ${columns} rows 24; ${program}`;
  return output('script', ['-qec', line, '/dev/null'], how.input);
}

interface OnTerminal {
  readonly prefix?: string;
  readonly input?: string;
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

async function output(program: string, args: readonly string[], input = ''): Promise<Output> {
  const child = spawn(program, args, { stdio: 'pipe' });
  const ended = once(child, 'close');
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  await ended;
  return { stdout, stderr, status: child.exitCode };
}
