/** Text for people: columns, cutting, tables, units. */

import { describe, expect, it } from 'vitest';
import { differences, limitOptions, writtenLimits } from '../../src/cli/operator/limits.ts';
import { columnsOf, cutTo, visible } from '../../src/cli/text/columns.ts';
import { table } from '../../src/cli/text/table.ts';
import { bytes, count, rate, several } from '../../src/cli/text/units.ts';
import { queueKeys } from '../../src/config/queue-leaves.ts';
import { readQueue } from '../../src/config/written-queue.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { queueDefinition } from '../../src/options.ts';

describe('columns', () => {
  it.each([
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['\u5bff\u53f8', 4],
    ['\ud83c\udf75', 2],
    ['', 0],
  ])('%s takes %d', (text, columns) => {
    expect(columnsOf(text)).toBe(columns);
  });

  it('a cut text is never wider than asked for, and shows that it was cut', () => {
    for (const text of ['abcdef', '\u5bff\u53f8\u5bff\u53f8', 'a\u5bffb\u53f8']) {
      for (let width = 0; width < 10; width += 1) {
        const cut = cutTo(text, width);
        expect(columnsOf(cut)).toBeLessThanOrEqual(width);
        if (width > 0 && columnsOf(text) > width) expect(cut.endsWith('\u2026')).toBe(true);
      }
    }
  });

  it('what a terminal would act upon is written out', () => {
    expect(visible('a\x1b[2Jb\r\n\u202ec\ud800')).toBe('a\\x1b[2Jb\\x0d\\x0a\\u202ec\\ud800');
  });
});

describe('tables', () => {
  const rows = [
    { name: 'orders', depth: 7 },
    { name: 'x'.repeat(40), depth: 12_345 },
  ];
  const columns = [
    { title: 'QUEUE', cut: true as const, of: ({ name }: (typeof rows)[0]) => name },
    { title: 'TOPIC', cut: true as const, of: ({ name }: (typeof rows)[0]) => `$queue/${name}` },
    { title: 'DEPTH', right: true as const, of: ({ depth }: (typeof rows)[0]) => count(depth) },
  ];

  it('without a terminal nothing is cut', () => {
    expect(table(columns.toSpliced(1, 1), rows, undefined)).toEqual([
      `QUEUE${' '.repeat(37)} DEPTH`,
      `orders${' '.repeat(41)}7`,
      `${'x'.repeat(40)}  12,345`,
    ]);
  });

  it('on a terminal long columns give way to numbers, down to the width that is there', () => {
    for (let width = 26; width < 100; width += 1) {
      const lines = table(columns, rows, width);
      for (const line of lines) expect(columnsOf(line)).toBeLessThanOrEqual(width);
      expect(lines[2]).toMatch(/12,345$/);
    }
  });
});

describe('units', () => {
  it('numbers, bytes and rates', () => {
    expect([0, 999, 1000, 1_234_567].map(count)).toEqual(['0', '999', '1,000', '1,234,567']);
    expect([0, 1023, 1024, 10_240, 1.5 * 2 ** 30].map(bytes)).toEqual([
      '0 B',
      '1023 B',
      '1.00 KiB',
      '10.0 KiB',
      '1.50 GiB',
    ]);
    expect([0, 0.25, 9.96, 1234.5].map(rate)).toEqual(['0', '0.3', '10.0', '1,235']);
    expect([several(1, 'queue'), several(2, 'queue')]).toEqual(['1 queue', '2 queues']);
  });
});

describe('limits of a queue', () => {
  const paths = queueKeys()
    .map(({ path }) => path)
    .filter((path) => path !== 'type' && path !== 'topics');

  it('every key of the configuration file is shown, and none besides', () => {
    const written = writtenLimits(defaultDefinition('orders', 'classic'));
    expect([...written.keys()].sort()).toEqual([...paths].sort());
  });

  it.each(['classic', 'stream'] as const)(
    'what is shown of a %s, read again, is the same',
    (type) => {
      const definition = defaultDefinition('orders', type);
      const values = new Map<string, string>([...writtenLimits(definition), ['type', type]]);
      const read = readQueue('orders', values);
      expect(read).toHaveProperty('value');
      if ('value' in read) expect(queueDefinition(read.value)).toEqual(definition);
    },
  );

  it('each changed key is told as one difference, under its own name', () => {
    const values = new Map([['retention.age', '7d']]);
    const read = readQueue('orders', values);
    if (!('value' in read)) throw new Error('is sound');
    const usual = defaultDefinition('orders', 'classic');
    expect(differences(usual, queueDefinition(read.value))).toEqual([
      { path: 'retention.age', from: '0s', to: '7d' },
    ]);
  });

  it('no two options have the same name', () => {
    const flags = limitOptions().flatMap((option) => option.flags.split(', '));
    expect(new Set(flags).size).toBe(flags.length);
  });
});
