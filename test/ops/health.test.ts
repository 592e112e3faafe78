/** Alive and ready: each reason is told, and only those that hinder send nobody here. */

import { describe, expect, it } from 'vitest';
import type { ThreadFigures } from '../../src/ops/figures.ts';
import {
  type HealthFigures,
  type Readiness,
  livenessOf,
  readinessOf,
} from '../../src/ops/health.ts';

const well: HealthFigures = {
  stage: 'running',
  storeFailure: undefined,
  closedListeners: [],
  shards: new Map([['disk/inside-reserve', 0]]),
};

function codes({ status, reasons }: Readiness): string[] {
  return [status, ...reasons.map(({ code }) => code)];
}

const shards = (...names: string[]): Map<string, number> => new Map(names.map((name) => [name, 1]));

describe('ready', () => {
  it('is a node that runs, with every listener open, and a shard that answers', () => {
    expect(readinessOf(well)).toEqual({ status: 'ready', reasons: [] });
  });

  it.each<[string, Partial<HealthFigures>, string[]]>([
    ['in recovery', { stage: 'starting', shards: undefined }, ['starting']],
    ['asked to stop', { stage: 'stopping' }, ['stopping']],
    ['its store failed', { storeFailure: 'EIO', shards: undefined }, ['store-failed']],
    ['its shard does not answer', { shards: undefined }, ['shard-silent']],
    [
      'a listener is closed',
      { closedListeners: ['a', 'b'] },
      ['listener-closed', 'listener-closed'],
    ],
    ['inside its reserve', { shards: shards('disk/inside-reserve') }, ['disk-reserve']],
    ['the same as an alarm', { shards: shards('alarm/disk-reserve') }, ['disk-reserve']],
  ])('is not one: %s', (_what, wrong, reasons) => {
    const readiness = readinessOf({ ...well, ...wrong });
    expect(codes(readiness)).toEqual(['not-ready', ...reasons]);
    expect(readiness.reasons.every(({ blocks }) => blocks)).toBe(true);
  });

  it('is also one with damage: it delivers the rest, and says so', () => {
    const readiness = readinessOf({
      ...well,
      shards: shards(
        'alarm/log-damaged',
        'alarm/spill-late',
        'alarm/damaged/orders/7-9',
        'alarm/damaged/bills/1-1',
        'alarm/stuck/orders/3-3',
      ),
    });
    expect(codes(readiness)).toEqual(['degraded', 'log-damaged', 'spill-late', 'damaged', 'stuck']);
    // A follower says it, too, and holds nobody back.
    expect(readiness.reasons[1]?.detail).toContain('publishes wait where this node leads');
    expect(readiness.reasons[2]?.detail).toBe('2 queues with messages that cannot be read');
    expect(readiness.reasons.some(({ blocks }) => blocks)).toBe(false);
  });

  it('tells every reason at once, and a bounded number of them', () => {
    const many = Array.from({ length: 1_000 }, (_none, at) => `listener ${at}`);
    expect(
      codes(
        readinessOf({ ...well, storeFailure: 'EIO', shards: undefined, closedListeners: ['a'] }),
      ),
    ).toEqual(['not-ready', 'store-failed', 'listener-closed']);
    expect(readinessOf({ ...well, closedListeners: many }).reasons.length).toBeLessThan(100);
  });
});

function thread(silentMs: number): ThreadFigures {
  const writes = { count: 0, sumMs: 0, within: [] };
  return { silentMs, delayMs: { p50: 0, p99: 0, max: 0 }, busyMs: 0, writes };
}

describe('alive', () => {
  const alive = (stage: 'starting' | 'running', shardThread: number | undefined): boolean =>
    livenessOf(
      { stage, shardThread: shardThread === undefined ? undefined : thread(shardThread) },
      thread(10),
      1_000,
    ).alive;

  it('is a node whose threads have turned lately', () => {
    expect(alive('running', 999)).toBe(true);
    expect(alive('running', 1_001)).toBe(false);
    expect(livenessOf({ stage: 'running', shardThread: undefined }, thread(1_001), 1_000)).toEqual({
      alive: false,
      threads: { main: 1_001 },
    });
  });

  it('is a node in a long recovery, which a new start would only begin again', () => {
    expect(alive('starting', 60_000)).toBe(true);
    expect(alive('starting', undefined)).toBe(true);
  });
});
