/** Places in a queue, as people write them: where a group begins. Pure. */

import { type Read, quote } from './values.ts';

export type StartPosition =
  | { readonly kind: 'first' | 'last' | 'next' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly ms: number };

export const POSITION_RULE =
  '`auto`, `first` or `next`; on a stream also `last`, an offset, or a time such as ' +
  '`2026-01-31T12:00:00Z`';

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?(?:Z|[+-]\d{2}:\d{2})$/;

/** Undefined for `auto`. */
export function readPosition(written: string): Read<StartPosition | undefined> {
  if (written === 'auto') return { value: undefined };
  if (written === 'first' || written === 'last' || written === 'next') {
    return { value: { kind: written } };
  }
  if (/^\d+$/.test(written) && Number.isSafeInteger(Number(written))) {
    return { value: { kind: 'offset', offset: Number(written) } };
  }
  const ms = TIME.test(written) ? Date.parse(written) : Number.NaN;
  if (ms >= 0) return { value: { kind: 'time', ms } };
  return {
    problem:
      `${quote(written)} is not a place in a queue: write auto, first, last, next, an offset, or ` +
      'a time such as 2026-01-31T12:00:00Z',
  };
}

export function positionProblem(written: string): string | undefined {
  const read = readPosition(written);
  return 'problem' in read ? read.problem : undefined;
}
