/** Reads one scalar by its key: the value, or a sentence for the person who wrote it. Pure. */

import type { ScalarNode } from './document.ts';
import { nearest } from './nearest.ts';
import type { ChoiceKey, DurationKey, Leaf, NumberKey, TextsKey } from './schema.ts';
import { type Read, quote, readAddress, readDuration, readSize } from './values.ts';

/** Lists have a reader of their own. */
export type ScalarKey = Exclude<Leaf, TextsKey>;

export function readLeaf(key: ScalarKey, scalar: ScalarNode): Read<unknown> {
  if (scalar.value === null) {
    return { problem: 'has no value: write one, or take the key out for its default' };
  }
  const { written, value } = scalar;
  switch (key.kind) {
    case 'switch':
      return typeof value === 'boolean'
        ? { value }
        : { problem: `${quote(written)} is neither true nor false` };
    case 'choice':
      return readChoice(key, written);
    case 'text': {
      const problem = key.check(written);
      return problem === undefined ? { value: written } : { problem };
    }
    case 'number':
      if (key.auto !== undefined && written === 'auto') return { value: undefined };
      return readNumber(key, value, written);
    case 'address':
      if (written === 'off' && key.mayBeOff) return { value: undefined };
      return readAddress(written);
    case 'duration':
      return readSteps(key, written);
    case 'size':
      if (key.auto !== undefined && written === 'auto') return { value: undefined };
      return withRange(key, written, readSize);
    default:
      return key satisfies never;
  }
}

function readChoice(key: ChoiceKey, written: string): Read<string> {
  if (key.choices.includes(written)) return { value: written };
  const near = nearest(written, key.choices);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return { problem: `${quote(written)} is not one of ${key.choices.join(', ')}${hint}` };
}

function readNumber(key: NumberKey, value: unknown, written: string): Read<number> {
  const kind = key.fraction ? 'a number' : 'a whole number';
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    return { problem: `${quote(written)} is not ${kind}` };
  }
  if (!key.fraction && !Number.isSafeInteger(value)) {
    return { problem: `${quote(written)} is not ${kind}` };
  }
  if (value < key.min || value > key.max) {
    return { problem: `${quote(written)} is not within ${key.min} to ${key.max}` };
  }
  return { value };
}

function readSteps(key: DurationKey, written: string): Read<number> {
  const one = withRange(key, written, readDuration);
  if ('problem' in one || key.step === undefined || one.value % 1000 === 0) return one;
  return { problem: `${quote(written)} is not a whole number of seconds` };
}

interface Ranged {
  readonly min: string;
  readonly max: string;
}

function withRange(
  { min, max }: Ranged,
  written: string,
  read: (written: string) => Read<number>,
): Read<number> {
  const one = read(written);
  if ('problem' in one) return one;
  const [low, high] = [read(min), read(max)];
  if ('problem' in low || 'problem' in high)
    return { problem: `its range ${min} to ${max} is wrong` };
  return one.value >= low.value && one.value <= high.value
    ? one
    : { problem: `${quote(written)} is not within ${min} to ${max}` };
}
