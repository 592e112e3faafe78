/** docs/metrics.md names every metric that a scrape can show, and no other. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SEPARATOR } from '../../src/ops/figures.ts';
import { METRICS } from '../../src/ops/metric-table.ts';
import { metricsPage } from '../../src/ops/metrics-page.ts';
import { Metrics } from '../../src/ops/metrics.ts';

const page = (): Promise<string> =>
  readFile(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');

it('docs/metrics.md is current (npm run docs:config writes it)', async () => {
  expect(await page()).toBe(metricsPage());
});

it('a scrape of a node that counts everything shows what the page names, both ways', async () => {
  const metrics = new Metrics({ maxQueues: 1, maxGroups: 1 });
  const writes = { count: 1, sumMs: 1, within: [] };
  const thread = { silentMs: 1, delayMs: { p50: 1, p99: 1, max: 1 }, busyMs: 1, writes };
  const names = ['a', 'b'];
  const text = await metrics.encode({
    node: new Map(METRICS.flatMap(({ series }) => series.map(({ from }) => [from, 1]))),
    shards: new Map(
      names.flatMap((name): [string, number][] => [
        [['depth', name].join(SEPARATOR), 1],
        [['leaving', name].join(SEPARATOR), 1],
        ...['lag', 'held', 'members'].flatMap((what) =>
          names.map((group): [string, number] => [[what, name, group].join(SEPARATOR), 1]),
        ),
      ]),
    ),
    mainThread: thread,
    shardThread: thread,
  });
  const shown = [...text.matchAll(/^# TYPE (\S+ \S+)$/gm)].map(([, each]) => each ?? '');
  const written = [...(await page()).matchAll(/^\| `(\S+)` \| (\w+) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  expect(new Set(shown)).toEqual(new Set(written));
  expect([shown.length, written.length]).toEqual([new Set(shown).size, new Set(shown).size]);
});

it('names are those of Prometheus: a prefix, a unit, and _total for what only grows', () => {
  for (const { name, kind } of METRICS) {
    expect(name).toMatch(/^fluxmq_[a-z_]+$/);
    expect(name.endsWith('_total'), name).toBe(kind === 'counter');
  }
});
