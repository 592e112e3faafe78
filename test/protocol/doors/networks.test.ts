/** Who counts as one at a door, what one may have, and that remembering it is bounded (S1). */

import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { fc } from '../../support/properties.ts';
import { networkOf } from '../../../src/protocol/doors/address-network.ts';
import { Arrivals } from '../../../src/protocol/doors/arrivals.ts';
import { IDLE_MAX, Networks } from '../../../src/protocol/doors/networks.ts';
import { TurnedAway } from '../../../src/protocol/doors/turned-away.ts';

describe('networkOf', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:0:0:0:0/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2:0:0:0:0/64'],
    ['2001:db8::1', '2001:db8:0:0:0:0:0:0/64'],
    ['fe80::1%eth0', 'fe80:0:0:0:0:0:0:0/64'],
    ['::1', '0:0:0:0:0:0:0:0/64'],
    ['::', '0:0:0:0:0:0:0:0/64'],
    ['1::', '1:0:0:0:0:0:0:0/64'],
  ])('%s counts as %s', (address, network) => {
    expect(networkOf(address, 64)).toBe(network);
  });

  test('a prefix may end within a group', () => {
    expect(networkOf('2001:db8:1:ffff::1', 56)).toBe('2001:db8:1:ff00:0:0:0:0/56');
    expect(networkOf('2001:db8::1', 128)).toBe('2001:db8:0:0:0:0:0:1/128');
    expect(networkOf('::1.2.3.4', 128)).toBe('0:0:0:0:0:0:102:304/128');
  });

  test('two addresses are of one network exactly if their first bits are the same', () => {
    const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
    const bits = (all: readonly number[]): string =>
      all.map((group) => group.toString(2).padStart(16, '0')).join('');
    const text = (all: readonly number[]): string => all.map((each) => each.toString(16)).join(':');
    const near = fc.tuple(groups, fc.integer({ min: 0, max: 127 })).map(([first, at]) => {
      const second = [...first];
      const group = Math.floor(at / 16);
      second[group] = (second[group] ?? 0) ^ (1 << (15 - (at % 16)));
      return [first, second] as const;
    });
    fc.assert(
      fc.property(near, fc.integer({ min: 1, max: 128 }), ([a, b], prefix) => {
        const same = bits(a).slice(0, prefix) === bits(b).slice(0, prefix);
        expect(networkOf(text(a), prefix) === networkOf(text(b), prefix)).toBe(same);
      }),
    );
  });
});

describe('Networks', () => {
  test('one has so many connections, and others theirs', () => {
    const networks = new Networks({ maxConnections: 2, rate: undefined });
    expect([1, 2, 3].map(() => networks.enter('a', 0))).toEqual([
      undefined,
      undefined,
      'connections',
    ]);
    expect(networks.enter('b', 0)).toBeUndefined();
    networks.leave('a', 0);
    expect(networks.enter('a', 0)).toBeUndefined();
    expect(networks.enter('a', 0)).toBe('connections');
  });

  test('a rate is remembered when all connections are gone, for as long as it matters', () => {
    const networks = new Networks({ maxConnections: 0, rate: { perSecond: 1, burst: 2 } });
    for (let count = 0; count < 2; count++) {
      expect(networks.enter('a', 0)).toBeUndefined();
      networks.leave('a', 0);
    }
    expect(networks.enter('a', 999)).toBe('rate');
    networks.sweep(1999);
    expect(networks.count).toBe(1);
    networks.sweep(2000);
    expect(networks.count).toBe(0);
  });

  test('who was refused for his connections has spent nothing', () => {
    const networks = new Networks({ maxConnections: 1, rate: { perSecond: 1, burst: 2 } });
    networks.enter('a', 0);
    for (let count = 0; count < 10; count++) expect(networks.enter('a', 0)).toBe('connections');
    networks.leave('a', 0);
    expect(networks.enter('a', 0)).toBeUndefined();
  });

  test('without bounds nothing is remembered but who is there', () => {
    const networks = new Networks({ maxConnections: 0, rate: undefined });
    for (let count = 0; count < 1000; count++) {
      expect(networks.enter(`n${count}`, 0)).toBeUndefined();
      networks.leave(`n${count}`, 0);
    }
    expect(networks.count).toBe(0);
  });

  test('memory is bounded, whatever number of addresses come and go', () => {
    const networks = new Networks({ maxConnections: 9, rate: { perSecond: 1, burst: 2 } });
    networks.enter('here', 0);
    for (let count = 0; count < 3 * IDLE_MAX; count++) {
      networks.enter(`n${count}`, 0);
      networks.leave(`n${count}`, 0);
    }
    expect(networks.count).toBe(IDLE_MAX + 1);
    // Refused ones are not remembered either.
    networks.enter(`n${3 * IDLE_MAX - 1}`, 0);
    expect(networks.enter(`n${3 * IDLE_MAX - 1}`, 0)).toBe('rate');
    networks.sweep(10_000);
    expect(networks.count).toBe(2);
  });
});

describe('Arrivals', () => {
  const socket = (port: number): Socket =>
    ({ remoteAddress: '::1', remotePort: port, localPort: 1, destroy() {} }) as unknown as Socket;

  test('counts those of a network, and gives their places back', () => {
    const arrivals = new Arrivals({ max: 3, maxOfNetwork: 2 });
    const [first, second] = [arrivals.add(socket(1), 'a', 10), arrivals.add(socket(2), 'a', 11)];
    if (typeof first === 'string' || typeof second === 'string') throw new Error('refused');
    expect(arrivals.add(socket(3), 'a', 12)).toBe('network-handshakes');
    expect(arrivals.add(socket(3), 'b', 12)).toBeTypeOf('object');
    expect(arrivals.add(socket(4), 'c', 12)).toBe('handshakes');
    arrivals.remove(first);
    arrivals.remove(first);
    expect(arrivals.add(socket(4), 'a', 12)).toBeTypeOf('object');
    expect(arrivals.add(socket(5), 'a', 12)).toBe('network-handshakes');
    expect(arrivals.sweep(11)).toBe(1);
    expect(arrivals.count).toBe(2);
  });

  test('a socket with the addresses of one that is gone is another one', () => {
    const arrivals = new Arrivals({ max: 3, maxOfNetwork: 1 });
    const before = arrivals.add(socket(1), 'a', 10);
    const after = arrivals.add(socket(1), 'b', 20);
    if (typeof before === 'string' || typeof after === 'string') throw new Error('refused');
    arrivals.remove(before);
    expect(arrivals.count).toBe(1);
    expect(arrivals.through(socket(1))).toBe(after);
    expect(arrivals.add(socket(2), 'a', 30)).toBeTypeOf('object');
  });
});

test('a flood of refused connections is a few lines of the log', () => {
  const lines: unknown[] = [];
  const warn = (fields: object): void => void lines.push(fields);
  const log = { debug: warn, info: warn, warn, error: warn };
  const turnedAway = new TurnedAway('server.mqtt.tcp.addr');
  for (let now = 0; now < 10_000; now++) turnedAway.tell(log, { why: 'rate', remote: 'x:1' }, now);
  turnedAway.tell(log, { why: 'other', remote: 'x:1' }, 10_000);
  expect(lines).toMatchObject([{ more: 0 }, { more: 4999 }, { more: 0 }]);
});
