/** The network of the simulator: what each fault does to messages, and shapes of partitions. */

import { describe, expect, it } from 'vitest';

import { Counters } from '../../../raft/simulation/counters.ts';
import { Kernel } from '../../../raft/simulation/kernel.ts';
import { Network } from '../../../raft/simulation/network.ts';
import type { LinkFaults } from '../../../raft/simulation/network.ts';
import { linksCutBy } from '../../../raft/simulation/partitions.ts';
import { Random } from '../../../raft/simulation/random.ts';

const WHOLE: LinkFaults = {
  loss: 0,
  duplication: 0,
  replay: 0,
  reorders: false,
  delayLeastUs: 100,
  delayMostUs: 5000,
};

function world(faults: Partial<LinkFaults> = {}) {
  const kernel = new Kernel(3);
  const counters = new Counters();
  const heard: string[] = [];
  const network = new Network<number>({
    kernel,
    counters,
    faults: { ...WHOLE, ...faults },
    deliver: (from, to, message) => heard.push(`${from}>${to} ${message}`),
  });
  return { kernel, counters, heard, network };
}

async function sendMany(faults: Partial<LinkFaults>) {
  const made = world(faults);
  for (let message = 0; message < 200; message += 1) {
    made.network.send('a', 'b', message);
    await made.kernel.runFor(1000);
  }
  await made.kernel.runFor(5_000_000);
  return { ...made, numbers: made.heard.map((line) => Number(line.split(' ')[1])) };
}

const ascending = Array.from({ length: 200 }, (_, message) => message);

describe('a link', () => {
  it('that is whole brings everything, once, in order', async () => {
    expect((await sendMany({})).numbers).toEqual(ascending);
  });

  it('that reorders brings everything, once, in another order', async () => {
    const { numbers } = await sendMany({ reorders: true });
    expect(numbers).not.toEqual(ascending);
    expect(numbers.toSorted((one, other) => one - other)).toEqual(ascending);
  });

  it('that loses, doubles or replays counts what it does', async () => {
    const lossy = await sendMany({ loss: 0.3 });
    expect(lossy.numbers.length).toBe(200 - lossy.counters.get('installed: loss'));
    expect(lossy.numbers.length).toBeLessThan(200);
    const doubling = await sendMany({ duplication: 0.3 });
    expect(doubling.numbers.length).toBe(200 + doubling.counters.get('installed: duplication'));
    expect(doubling.numbers.length).toBeGreaterThan(200);
    const replaying = await sendMany({ replay: 0.3 });
    expect(replaying.numbers.length).toBe(200 + replaying.counters.get('installed: replay'));
    expect(replaying.numbers.length).toBeGreaterThan(200);
  });

  it('that is cut loses what is sent and what is on its way, in its direction alone', async () => {
    const { network, heard, kernel } = world();
    network.send('a', 'b', 1);
    network.cut('a', 'b');
    network.send('a', 'b', 2);
    network.send('b', 'a', 3);
    await kernel.runFor(10_000);
    network.mend('a', 'b');
    network.send('a', 'b', 4);
    await kernel.runFor(10_000);
    expect(heard).toEqual(['b>a 3', 'a>b 4']);
  });

  it('that is clogged brings everything afterwards', async () => {
    const { network, heard, kernel } = world();
    network.clog('a', 'b', 1_000_000);
    network.send('a', 'b', 1);
    await kernel.runFor(900_000);
    expect(heard).toEqual([]);
    await kernel.runFor(200_000);
    expect(heard).toEqual(['a>b 1']);
  });
});

describe('a partition', () => {
  const nodes = ['a', 'b', 'c', 'd', 'e'];
  const sees = (links: readonly (readonly [string, string])[], node: string): number =>
    nodes.filter(
      (other) =>
        other === node ||
        !links.some(
          ([from, to]) => (from === node && to === other) || (from === other && to === node),
        ),
    ).length;

  it('in the shape of a ring leaves each node a majority, and no two the same', () => {
    const links = linksCutBy('ring', nodes, { random: new Random(1) });
    expect(nodes.map((node) => sees(links, node))).toEqual([3, 3, 3, 3, 3]);
    const seen = nodes.map((node) =>
      nodes.filter((other) => !links.some(([from, to]) => from === node && to === other)).join(''),
    );
    expect(new Set(seen).size).toBe(5);
  });

  it('in the shape of a bridge leaves one node that sees all', () => {
    const links = linksCutBy('bridge', nodes, { random: new Random(1), first: 'c' });
    expect(sees(links, 'c')).toBe(5);
    expect(nodes.filter((node) => sees(links, node) === 3)).toEqual(['a', 'b', 'd', 'e']);
  });

  it('that is one-way cuts no link in both directions', () => {
    const links = linksCutBy('one-way', nodes, { random: new Random(1) });
    expect(links).toHaveLength(4);
    for (const [from, to] of links) expect(links).not.toContainEqual([to, from]);
  });

  it('of one alone leaves it nobody', () => {
    expect(sees(linksCutBy('alone', nodes, { random: new Random(1), first: 'd' }), 'd')).toBe(1);
  });
});
