/** Durations, sizes and addresses: what is written comes back, and nothing is guessed. */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { nearest } from '../../src/config/nearest.ts';
import {
  readAddress,
  readDuration,
  readSize,
  writeAddress,
  writeDuration,
  writeSize,
} from '../../src/config/values.ts';

describe('values', () => {
  it('a duration or a size that is written is read as the same number', () => {
    const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(number, (value) => {
        expect(readDuration(writeDuration(value))).toEqual({ value });
        expect(readSize(writeSize(value))).toEqual({ value });
      }),
    );
  });

  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5s', 1500],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
  ])('the duration %s', (written, value) => {
    expect(readDuration(written)).toEqual({ value });
  });

  it.each(['', '5', '-5s', '5 s', '5S', 's', '1e3s', '0.5ms', '5sx', '99999999999d'])(
    '%j is no duration',
    (written) => {
      expect(readDuration(written)).toHaveProperty('problem');
    },
  );

  it.each([
    ['0B', 0],
    ['64KiB', 65_536],
    ['1.5MiB', 1_572_864],
    ['10MB', 10_000_000],
    ['1 GiB', 2 ** 30],
  ])('the size %s', (written, value) => {
    expect(readSize(written)).toEqual({ value });
  });

  it.each(['', '64', '64M', '64mib', '-1B', '0.5B', '9999999TiB', 'MiB'])(
    '%j is no size',
    (written) => {
      expect(readSize(written)).toHaveProperty('problem');
    },
  );

  it.each(['127.0.0.1:1883', '[::1]:0', 'localhost:65535', '[::]:1883'])(
    'the address %s',
    (written) => {
      const read = readAddress(written);
      expect('value' in read && writeAddress(read.value)).toBe(written);
    },
  );

  it.each(['', '1883', 'a', 'a:', 'a:65536', '::1:1883', '[::1]', 'a b:1', 'a:-1', 'http://a:1'])(
    '%j is no address',
    (written) => {
      expect(readAddress(written)).toHaveProperty('problem');
    },
  );

  it('the nearest name is found across a slip of the fingers, and none across two words', () => {
    const names = ['level', 'format', 'max_connections', 'segment_size'];
    expect(nearest('levle', names)).toBe('level');
    expect(nearest('maxConnections', names)).toBe('max_connections');
    expect(nearest('segment-sise', names)).toBe('segment_size');
    expect(nearest('password', names)).toBeUndefined();
    expect(nearest('x'.repeat(10_000), names)).toBeUndefined();
  });
});
