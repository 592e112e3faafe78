import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LOOK_UPS_MAX, LookUps } from '../../src/shard/look-ups.ts';

interface Asked<T> {
  readonly what: T;
  readonly answer: (shard?: number) => void;
  readonly fail: () => void;
}

function world() {
  const wheres: Asked<string>[] = [];
  const barriers: Asked<number>[] = [];
  const ask = <T>(what: T, list: Asked<T>[]): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      list.push({ what, answer: resolve, fail: () => reject(new Error('nobody leads')) });
    });
  const lookUps = new LookUps({
    where: (name) => ask(name, wheres),
    barrier: async (shard) => void (await ask(shard, barriers)),
    timeoutMs: 100,
  });
  return { lookUps, wheres, barriers };
}

const turn = (): Promise<void> => vi.advanceTimersByTimeAsync(0).then(() => undefined);

describe('looking for a queue that is not known', () => {
  beforeEach(
    () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate'] }),
  );
  afterEach(() => void vi.useRealTimers());

  it('asks shard 0, and is known when it has answered, whether there is one or not', async () => {
    const { lookUps, wheres, barriers } = world();
    const found = [lookUps.find('a'), lookUps.find('b')];
    await turn();
    expect(wheres.map(({ what }) => what)).toEqual(['a', 'b']);
    wheres[0]?.answer(0);
    wheres[1]?.answer();
    expect(await Promise.all(found)).toEqual([true, true]);
    expect(barriers).toEqual([]);
    expect(lookUps.size).toBe(0);
  });

  it('asks the shard of the name behind it, once for all names of a round', async () => {
    const { lookUps, wheres, barriers } = world();
    const [a, b] = [lookUps.find('a'), lookUps.find('b')];
    let isKnown = false;
    void a.then(() => (isKnown = true));
    await turn();
    for (const where of wheres) where.answer(3);
    await turn();
    expect(barriers.map(({ what }) => what)).toEqual([3]);
    expect(isKnown).toBe(false);
    barriers[0]?.answer();
    expect(await Promise.all([a, b])).toEqual([true, true]);
  });

  it('who asks before the question is sent shares its answer; who asks later needs a newer one', async () => {
    const { lookUps, wheres } = world();
    const first = lookUps.find('a');
    expect(lookUps.find('a')).toBe(first);
    await turn();
    const second = lookUps.find('a');
    expect(second).not.toBe(first);
    expect(wheres).toHaveLength(1);
    let isSecond = false;
    void second.then(() => (isSecond = true));
    wheres[0]?.answer();
    await first;
    await turn();
    expect(isSecond).toBe(false);
    expect(wheres.map(({ what }) => what)).toEqual(['a', 'a']);
    wheres[1]?.answer();
    expect(await second).toBe(true);
  });

  it('a shard that nobody leads holds up its own names alone', async () => {
    const { lookUps, wheres, barriers } = world();
    const stuck = lookUps.find('stuck');
    await turn();
    wheres[0]?.answer(2);
    await turn();
    const other = lookUps.find('other');
    await turn();
    wheres[1]?.answer(0);
    expect(await other).toBe(true);
    expect(barriers).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(await stuck).toBe(false);
  });

  it('where nobody leads, nothing is known, and the next round begins all the same', async () => {
    const { lookUps, wheres } = world();
    const [refused, silent] = [lookUps.find('refused'), lookUps.find('silent')];
    await turn();
    wheres[0]?.fail();
    expect(await refused).toBe(false);
    const next = lookUps.find('next');
    await turn();
    expect(wheres).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(100);
    expect(await silent).toBe(false);
    await turn();
    wheres[2]?.answer(0);
    // It waited as long as the one before it, and its own time is over too.
    expect(await next).toBe(false);
    const later = lookUps.find('later');
    await turn();
    wheres.at(-1)?.answer(0);
    expect(await later).toBe(true);
    expect(lookUps.size).toBe(0);
  });

  it('is bounded: what is above is told that nobody knows', async () => {
    // So many timers are too much for the pretended ones.
    vi.useRealTimers();
    const { lookUps } = world();
    for (let at = 0; at < LOOK_UPS_MAX; at++) void lookUps.find(`queue-${at}`);
    expect(await lookUps.find('one-more')).toBe(false);
    expect(lookUps.size).toBe(LOOK_UPS_MAX);
  });
});
