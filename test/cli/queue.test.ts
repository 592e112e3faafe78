/**
 * `fluxmq queue list`, `show` and `declare` as processes, against an admin server in this one; and
 * how the command line finds its broker.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { type FakeQueueAdmin, fakeDefinition } from '../support/fake-queue-admin.ts';
import { LAUNCHER, Operator, onTerminal, output } from './operator.ts';
import { type Ended, Running, fluxmq } from './run-cli.ts';

let operator: Operator;
let admin: FakeQueueAdmin;
const run = (...args: readonly string[]): Promise<Ended> => operator.run(...args);
const told = (...args: readonly string[]): Promise<string> => operator.told(...args);
const objects = (...args: readonly string[]): Promise<unknown[]> => operator.objects(...args);

beforeAll(async () => {
  operator = await Operator.started();
  ({ admin } = operator);
});
afterAll(() => operator.remove());
beforeEach(() => operator.reset());

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
    const shown = await onTerminal(`queue list --data '${operator.folder}'`, 70);
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
        shard: 0,
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
    const args = ['queue', 'list', '--watch', '100ms', '--data', operator.folder];
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
    const command = `queue list --watch 100ms --data '${operator.folder}'`;
    const frames = (printed: string): number => printed.split('\x1b[H').length - 1;
    const interruptAfter = (printed: string): boolean => frames(printed) >= 3;
    const { stdout, status } = await onTerminal(command, 80, { interruptAfter });
    expect(status).toBe(ExitCode.ok);
    expect(frames(stdout)).toBeGreaterThanOrEqual(3);
    expect(stdout).toContain('\x1b[J');
  });
});

describe('queue show', () => {
  it('tells groups, what holds space, damage, and limits that are not defaults', async () => {
    const limits = { ...DEFAULT_LIMITS, ttlMs: 3_600_000, deadLetter: '$dlq/orders' };
    const queue = admin.add(fakeDefinition('orders', { limits }), [
      { name: 'default', consumers: 2, delivered: 5 },
      { name: 'audit@eu/#', kind: 'automatic', filter: 'eu/#', floor: 3, stuck: 3, lost: [3, 8] },
    ]);
    for (let i = 0; i < 9; i += 1) admin.publish('orders', '');
    queue.heldBy = { group: 'default', offset: 0 as never };
    queue.damaged = [
      [3, 4],
      [7, 7],
    ] as never;
    const shown = (await told('queue', 'show', 'orders')).replaceAll(/ {2,}/g, '|');
    expect(shown.split('\n')).toEqual([
      expect.stringMatching(/^orders: classic, number \d+, shard 0$/),
      '|topics|$queue/orders/#',
      '|offsets|0 to 8',
      '|depth|9',
      '|consumers|2',
      '|space held by|offset 0, group default',
      '|not known|what group audit@eu/# has settled of 3 to 8 (held: seek or delete it)',
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
    expect(await told('queue', 'declare', 'orders', ...options)).toBe('orders: created\n');
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
      'orders: updated\n  message_ttl: 1h -> 0s\n  max_length.messages: 0 -> 5\n',
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

describe('which broker', () => {
  it('where none runs, says so and how to name one', async () => {
    const { code, stderr } = await fluxmq(['queue', 'list', '--data', '/nowhere/at all']);
    expect(code).toBe(ExitCode.connection);
    expect(stderr).toContain('no broker runs here: there is no /nowhere/at all/admin.sock');
    expect(stderr).toContain('--data DIR or --config FILE');
  });

  it('by its socket, or by the key that moved it', async () => {
    const socket = join(operator.folder, 'admin.sock');
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
    const program = `'${LAUNCHER}' queue list --json`;
    const line = `${program} --data '${operator.folder}' | head -1`;
    const { stderr } = await output('bash', ['-c', line]);
    expect(stderr).toBe('');
  });
});
