/**
 * docs/limits.md is true: the keys, defaults, metrics and tests that it names exist, every limit
 * that is counted stands in it, and so does every key that bounds a client.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/config/keys.ts';
import type { Key, Leaf } from '../../src/config/schema.ts';
import { LIMIT_METRICS } from '../../src/ops/limit-metrics.ts';
import { METRICS } from '../../src/ops/metric-table.ts';
import { MQTT_LIMITS } from '../../src/protocol/mqtt/limits.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Row {
  readonly limit: string;
  readonly keys: readonly string[];
  readonly fallback: string;
  readonly metric: string;
  readonly heldBy: string;
}

/** The rows of all tables whose first column is the limit, by the words of their heads. */
function rowsOf(page: string): Row[] {
  let head: string[] = [];
  return page.split('\n').flatMap((line): Row[] => {
    if (!line.startsWith('|') || line.startsWith('|-') || line.startsWith('| -')) return [];
    const cells = line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim());
    if (cells[0] === 'limit') head = cells;
    if (cells[0] === 'limit') return [];
    const cell = (name: string): string => cells[head.indexOf(name)] ?? '';
    const bare = (name: string): string => cell(name).replaceAll('`', '');
    return [
      {
        limit: cell('limit'),
        keys: bare('key').split('<br>'),
        fallback: bare('default'),
        metric: bare('counted as'),
        heldBy: cell('test'),
      },
    ];
  });
}

function leaves(keys: Readonly<Record<string, Key>>, path = ''): (readonly [string, Leaf])[] {
  return Object.entries(keys).flatMap(([name, key]) => {
    if (key.kind === 'section') return leaves(key.keys, `${path}${name}.`);
    return key.kind === 'sections' ? [] : [[`${path}${name}`, key] as const];
  });
}

const leafOf = new Map(leaves(KEYS.keys));

/** Every series as the page writes one. */
const series = new Set(
  METRICS.flatMap(({ name, series: all }) =>
    all.map(({ labels }) => {
      const written = Object.entries(labels ?? {}).map(([label, value]) => `${label}="${value}"`);
      return written.length === 0 ? name : `${name}{${written.join(',')}}`;
    }),
  ),
);

let rows: readonly Row[] = [];
beforeAll(async () => {
  rows = rowsOf(await readFile(join(ROOT, 'docs/limits.md'), 'utf8'));
});

describe('docs/limits.md', () => {
  it('names keys that exist, with their defaults', () => {
    expect(rows.length).toBeGreaterThan(25);
    for (const { limit, keys, fallback } of rows) {
      // A named number of the code.
      if (/^\d+$/.test(keys[0] ?? '')) continue;
      for (const key of keys) {
        const leaf = leafOf.get(key);
        expect(leaf, `${limit}: ${key}`).toBeDefined();
        const said = leaf !== undefined && 'fallback' in leaf ? String(leaf.fallback) : '';
        expect(said, `${limit}: ${key}`).toBe(fallback);
      }
    }
  });

  it('names metrics that exist', () => {
    for (const { limit, metric } of rows) {
      if (metric !== '-') expect([...series], limit).toContain(metric);
    }
  });

  it('names tests that exist', async () => {
    for (const { limit, heldBy } of rows) {
      const [, file = '', title = ''] = /^`([\w/-]+\.test\.ts)`: (.+)$/.exec(heldBy) ?? [];
      expect(title, limit).not.toBe('');
      const folder = file.includes('/') ? 'test' : 'test/protocol/mqtt';
      const text = await readFile(join(ROOT, folder, file), 'utf8');
      const quoted = ["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`));
      expect(quoted, `${limit}: ${heldBy}`).toBe(true);
    }
  });

  it('has every limit that is counted', () => {
    const told = new Set(rows.map(({ metric }) => metric));
    const [limited] = LIMIT_METRICS;
    for (const { labels } of limited?.series ?? []) {
      expect([...told]).toContain(`fluxmq_limited_total{limit="${labels?.['limit']}"}`);
    }
    for (const name of MQTT_LIMITS) {
      expect([...series]).toContain(`fluxmq_limited_total{limit="${name}"}`);
    }
  });

  it('has every key that bounds a client', () => {
    const told = new Set(rows.flatMap(({ keys }) => keys));
    const bounds = [...leafOf.keys()].filter(
      (key) =>
        /^(server\.mqtt|sessions|retained|access)\./.test(key) &&
        /(max(imum)?_|_maximum$|per_address\.|[_.]timeout$|rate\.)/.test(key),
    );
    const bare = bounds.filter(
      (key) => !/max_qos$|ipv6_prefix$|on_rate$/.test(key) && !told.has(key),
    );
    expect(bare).toEqual([]);
  });
});
