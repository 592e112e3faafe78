/**
 * What a node asks about the queue of retained messages, as plain data (see requests.ts). The first
 * three are answered by its own replica, whoever leads, the last by who leads.
 *
 * ```
 *  request   ["read-retained", node, from, until]   node: whose stream numbers are told
 *            ["kept-retained", from, to]
 *            ["settle-retained", from, to, from, to, ...]
 *            ["end-retained"]
 *  reply     read:   [next, leads, boot, number, stored messages, offset, bytes, offset, ...]
 *            kept:   [end, from, to, from, to, ...]
 *            settle: null
 *            end:    offset
 * ```
 *
 * `boot` and `number`: everything of the node's stream up to there is below `next`; 0: not known.
 */

import { Buffer } from 'node:buffer';
import type { OffsetRange } from '../broker/ports.ts';
import { booleanIn, countIn, listIn, textIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export type RetainedRequest =
  | {
      readonly kind: 'read-retained';
      readonly node: string;
      readonly from: number;
      readonly until: number;
    }
  | { readonly kind: 'kept-retained'; readonly from: number; readonly to: number }
  | { readonly kind: 'settle-retained'; readonly ranges: readonly OffsetRange[] }
  | { readonly kind: 'end-retained' };

export const RETAINED_REQUESTS = [
  'read-retained',
  'kept-retained',
  'settle-retained',
  'end-retained',
] as const satisfies readonly RetainedRequest['kind'][];

/** So many ranges are settled, or told, at once. */
export const RETAINED_RANGES_MAX = 1_024;

export interface StoredPart {
  readonly next: number;
  readonly leads: boolean;
  readonly boot: number;
  readonly number: number;
  readonly messages: readonly { readonly offset: number; readonly stored: Uint8Array }[];
}

export interface KeptPart {
  readonly end: number;
  readonly ranges: readonly OffsetRange[];
}

export function retainedRequestData(request: RetainedRequest): PlainData {
  switch (request.kind) {
    case 'read-retained':
      return [request.kind, request.node, request.from, request.until];
    case 'kept-retained':
      return [request.kind, request.from, request.to];
    case 'settle-retained':
      return [request.kind, ...request.ranges.flat()];
    case 'end-retained':
      return [request.kind];
  }
}

export function retainedRequestOf(
  kind: RetainedRequest['kind'],
  fields: readonly PlainData[],
): RetainedRequest {
  const [first, second, third] = fields;
  switch (kind) {
    case 'read-retained':
      return { kind, node: textIn(first), from: countIn(second), until: countIn(third) };
    case 'kept-retained':
      return { kind, from: countIn(first), to: countIn(second) };
    case 'settle-retained': {
      const ranges = rangesIn(fields);
      if (ranges.length > RETAINED_RANGES_MAX) throw new CodecError('bad-value', 'too many ranges');
      return { kind, ranges };
    }
    case 'end-retained':
      return { kind };
  }
}

export function storedPartData(part: StoredPart): PlainData {
  const { next, leads, boot, number, messages } = part;
  // One after the other as one: many small ones cost more than their bytes.
  const stored = Buffer.concat(messages.map((each) => each.stored));
  const places = messages.flatMap((each) => [each.offset, each.stored.length]);
  return [next, leads, boot, number, stored, ...places];
}

export function storedPartIn(data: PlainData): StoredPart {
  const [next, leads, boot, number, bytes, ...places] = listIn(data);
  if (!(bytes instanceof Uint8Array)) throw new CodecError('bad-value', 'bytes were expected');
  const messages: { offset: number; stored: Uint8Array }[] = [];
  let start = 0;
  for (let at = 0; at < places.length; at += 2) {
    const end = start + countIn(places[at + 1]);
    // Each has bytes of its own: one that stays must not keep the others.
    messages.push({
      offset: countIn(places[at]),
      stored: new Uint8Array(bytes.subarray(start, end)),
    });
    start = end;
  }
  if (start !== bytes.length) throw new CodecError('bad-length', 'stored messages do not add up');
  const told = { next: countIn(next), leads: booleanIn(leads), boot: countIn(boot) };
  return { ...told, number: countIn(number), messages };
}

export function keptPartData({ end, ranges }: KeptPart): PlainData {
  return [end, ...ranges.flat()];
}

export function keptPartIn(data: PlainData): KeptPart {
  const [end, ...rest] = listIn(data);
  return { end: countIn(end), ranges: rangesIn(rest) };
}

function rangesIn(fields: readonly PlainData[]): OffsetRange[] {
  const ranges: OffsetRange[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const range = [countIn(fields[at]), countIn(fields[at + 1])] as const;
    if (range[0] >= range[1]) throw new CodecError('bad-value', 'an empty range');
    ranges.push(range);
  }
  return ranges;
}
