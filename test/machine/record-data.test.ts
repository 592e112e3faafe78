import { describe, expect, it } from 'vitest';
import { MachineFault } from '../../src/machine/assert.ts';
import {
  attemptsKey,
  bytesOf,
  countOf,
  definitionsKey,
  groupKey,
  listOf,
  numberOf,
  queueKey,
  settledKey,
  streamKey,
  stringOf,
} from '../../src/machine/record-data.ts';

describe('record data', () => {
  it('keys are as they stand in the store', () => {
    expect([
      definitionsKey(0),
      queueKey(1),
      groupKey(1, 0),
      settledKey(1, 0, 2),
      attemptsKey(1, 0, 2),
      streamKey('a/b'),
    ]).toEqual([
      'definitions/0',
      'queue/1',
      'group/1/0',
      'settled/1/0/2',
      'attempts/1/0/2',
      'stream/a/b',
    ]);
  });

  it('what does not fit is a fault', () => {
    const wrong: (() => unknown)[] = [
      () => numberOf('1'),
      () => numberOf(undefined),
      () => countOf(-1),
      () => countOf(0.5),
      () => stringOf(1),
      () => listOf(null),
      () => bytesOf([1]),
    ];
    for (const read of wrong) expect(read).toThrow(MachineFault);
    expect([
      numberOf(-0.5),
      countOf(3),
      stringOf(''),
      listOf([]),
      bytesOf(Uint8Array.of(1)),
    ]).toEqual([-0.5, 3, '', [], Uint8Array.of(1)]);
  });
});
