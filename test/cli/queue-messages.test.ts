/**
 * `fluxmq queue purge`, `delete`, `peek`, `move`, `seek`, and `fluxmq group`, as processes against
 * an admin server in this one.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AdminError } from '../../src/broker/ports.ts';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { type FakeQueueAdmin, fakeDefinition } from '../support/fake-queue-admin.ts';
import { Operator, onTerminal } from './operator.ts';
import type { Ended } from './run-cli.ts';

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
    const command = `queue purge orders --data '${operator.folder}'`;
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

describe('a move whose leader is lost', () => {
  const lost = new AdminError('unavailable', 'the leader was lost: what was done is not known');

  function losesLeaders(times: number): void {
    let left = times;
    admin.gate = () => {
      const isMove = admin.asked.at(-1)?.startsWith('move') === true;
      return isMove && left-- > 0 ? Promise.reject(lost) : Promise.resolve();
    };
  }

  beforeEach(() => {
    admin.add(fakeDefinition('$dlq/orders'));
    admin.add(fakeDefinition('orders'));
    for (let i = 0; i < 3; i += 1) admin.publish('$dlq/orders', '');
  });

  it('is asked for again where all are to go, and says that its count is a lower bound', async () => {
    losesLeaders(2);
    expect(await told('queue', 'move', '$dlq/orders', '--to-source')).toBe(
      '$dlq/orders: at least 3 messages on the way to the source\n',
    );
    admin.publish('$dlq/orders', '');
    losesLeaders(1);
    expect(await objects('queue', 'move', '$dlq/orders', 'orders')).toEqual([
      { queue: '$dlq/orders', group: 'default', to: 'orders', moved: 1, at_least: true },
    ]);
  });

  it('ends where it is lost each time, and where only so many may go', async () => {
    losesLeaders(3);
    const given = await run('queue', 'move', '$dlq/orders', '--to-source');
    expect([given.code, given.stderr]).toEqual([ExitCode.refused, `fluxmq: ${lost.message}\n`]);
    losesLeaders(1);
    const bounded = await run('queue', 'move', '$dlq/orders', 'orders', '--max', '2');
    expect([bounded.code, bounded.stderr]).toEqual([ExitCode.refused, `fluxmq: ${lost.message}\n`]);
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

  it('many are moved by several requests, and never more than there were at first', async () => {
    admin.add(fakeDefinition('other'));
    admin.add(fakeDefinition('orders'));
    for (let i = 0; i < 25_000; i += 1) admin.publish('orders', '');
    expect(await told('queue', 'move', 'orders', 'other')).toBe(
      'orders: 25,000 messages on the way to other\n',
    );
    expect(admin.asked.filter((call) => call.startsWith('move'))).toEqual([
      'move: orders default other 10000',
      'move: orders default other 10000',
      'move: orders default other 5000',
    ]);
    const unknown = await run('queue', 'move', 'orders', 'other', '-g', 'nope');
    expect([unknown.code, unknown.stderr]).toEqual([
      ExitCode.refused,
      'fluxmq: orders has no group nope\n',
    ]);
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
        lost: null,
      },
    ]);
    expect((await run('group', 'list', 'nope')).code).toBe(ExitCode.refused);
  });

  it('delete: says what is lost, and asks', async () => {
    admin.add(fakeDefinition('orders'), [{ name: 'a', consumers: 1 }, { name: 'b' }]);
    const unasked = await run('group', 'delete', 'orders', 'a');
    expect(unasked.code).toBe(ExitCode.usage);
    expect(unasked.stderr).toContain('0 unsettled messages, and end 1 consumer?');
    const unknown = await run('group', 'delete', 'orders', 'nope', '--yes');
    expect([unknown.code, unknown.stderr]).toEqual([
      ExitCode.refused,
      'fluxmq: orders has no group nope\n',
    ]);
    expect(await told('group', 'delete', 'orders', 'b', '--yes')).toBe(
      'the group b of orders: deleted\n',
    );
  });
});
