/** Fields of plain data that came from the other side: what is of another type is a CodecError. */

import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export function listIn(data: PlainData | undefined): readonly PlainData[] {
  if (!Array.isArray(data)) throw new CodecError('bad-value', 'a list was expected');
  return data as readonly PlainData[];
}

export function textIn(data: PlainData | undefined): string {
  if (typeof data !== 'string') throw new CodecError('bad-value', 'a text was expected');
  return data;
}

export function numberIn(data: PlainData | undefined): number {
  if (typeof data !== 'number') throw new CodecError('bad-value', 'a number was expected');
  return data;
}

export function countIn(data: PlainData | undefined): number {
  const number = numberIn(data);
  if (!Number.isSafeInteger(number) || number < 0)
    throw new CodecError('bad-value', 'a count was expected');
  return number;
}

export function booleanIn(data: PlainData | undefined): boolean {
  if (typeof data !== 'boolean') throw new CodecError('bad-value', 'true or false was expected');
  return data;
}
