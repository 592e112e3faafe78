import { expect, it } from 'vitest';
import { untilLedAtHome } from '../../jepsen/led-at-home.ts';

const PLACES = [
  { shard: 0, nodes: ['node-1', 'node-2', 'node-3'] },
  { shard: 1, nodes: ['node-2', 'node-3', 'node-1'] },
];

/** Who leads shards 0 and 1, look by look; the last one stays. */
function looks(...all: readonly (readonly (string | undefined)[])[]) {
  const stopping = new AbortController();
  let look = 0;
  const waiting = {
    leader: async (shard: number) => Promise.resolve(all[Math.min(look, all.length - 1)]?.[shard]),
    pause: async () => {
      look += 1;
      return Promise.resolve();
    },
    isOver: () => look >= 5,
    stop: stopping.signal,
  };
  return { waiting, stopping, looked: () => look + 1 };
}

it('ends when each lead is with the first node of its shard', async () => {
  const { waiting, looked } = looks(
    ['node-2', 'node-2'],
    ['node-1', undefined],
    ['node-1', 'node-2'],
  );
  expect(await untilLedAtHome(PLACES, waiting)).toBe(true);
  expect(looked()).toBe(3);
});

it('begins anew with a lead that has left while another one came home', async () => {
  const { waiting, looked } = looks(
    ['node-1', 'node-3'],
    ['node-3', 'node-2'],
    ['node-1', 'node-2'],
  );
  expect(await untilLedAtHome(PLACES, waiting)).toBe(true);
  expect(looked()).toBe(3);
});

it('goes on without one that does not come home in time', async () => {
  const { waiting, looked } = looks(['node-1', 'node-3']);
  expect(await untilLedAtHome(PLACES, waiting)).toBe(false);
  expect(looked()).toBe(6);
});

it('is stopped, and asks no more', async () => {
  const { waiting, stopping, looked } = looks(['node-1', undefined]);
  stopping.abort();
  await expect(untilLedAtHome(PLACES, waiting)).rejects.toThrow('stopped before the leads');
  expect(looked()).toBe(1);
});

it('of no shards it has nothing to wait for', async () => {
  expect(await untilLedAtHome([], looks([]).waiting)).toBe(true);
});
