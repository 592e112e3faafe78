/**
 * Rare questions of the client to the shard, and their answers: plain data as in the records
 * (`record-codec.ts`), so that nothing in them can name a property or a class.
 *
 * ```
 *  request   ["stats"]
 *            ["declare", [name, type, topics, min ms, max ms, multiplier, jitter, delivery limit,
 *                         visibility timeout ms, max unsettled span], ...]
 *            ["stop"]
 *  reply     stats:   [name, number, name, number, ...]
 *            declare: ["created" | "same" | "updated", ...]
 *            stop:    []
 *            refused: the reason, for people
 * ```
 *
 * `stop` is answered when the log is closed with its mark of a clean stop; nothing follows it.
 */

import { QUEUE_TYPES } from '../machine/definitions.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import { type PlainData, decodeRecord, encodeRecord } from './record-codec.ts';
import { CodecError } from './wire.ts';

/** What a declaration did: it stood there already, or with other limits, or not at all. */
export const DECLARED = ['created', 'same', 'updated'] as const;
export type Declared = (typeof DECLARED)[number];

/** Plain numbers by name, for logs and metrics. */
export type ShardStats = ReadonlyMap<string, number>;

export type ShardRequest =
  | { readonly kind: 'stats' }
  | { readonly kind: 'declare'; readonly queues: readonly QueueDefinition[] }
  | { readonly kind: 'stop' };

export function encodeRequest(request: ShardRequest): Uint8Array {
  if (request.kind !== 'declare') return encodeRecord([request.kind]);
  return encodeRecord([request.kind, ...request.queues.map(declarationData)]);
}

export function decodeRequest(body: Uint8Array): ShardRequest {
  const [kind, ...rest] = list(decodeBody(body));
  switch (kind) {
    case 'stats':
    case 'stop':
      return { kind };
    case 'declare':
      return { kind, queues: rest.map(declarationOf) };
    default:
      throw new CodecError('unknown-kind', 'a request of unknown kind');
  }
}

export function encodeStats(stats: ShardStats): Uint8Array {
  return encodeRecord([...stats].flat());
}

export function decodeStats(body: Uint8Array): ShardStats {
  const fields = list(decodeBody(body));
  const stats = new Map<string, number>();
  for (let at = 0; at < fields.length; at += 2) stats.set(text(fields[at]), number(fields[at + 1]));
  return stats;
}

export function encodeDeclared(outcomes: readonly Declared[]): Uint8Array {
  return encodeRecord(outcomes);
}

export function decodeDeclared(body: Uint8Array): Declared[] {
  return list(decodeBody(body)).map((each) => {
    const known = DECLARED.find((declared) => declared === each);
    if (known === undefined) throw new CodecError('bad-value', 'the outcome of a declaration');
    return known;
  });
}

/** Why a request was refused, or that it was done and has no more to tell. */
export function encodeWords(words: string): Uint8Array {
  return encodeRecord(words);
}

export function decodeWords(body: Uint8Array): string {
  return text(decodeBody(body));
}

function declarationData({ name, type, topics, limits }: QueueDefinition): PlainData {
  const { retry } = limits;
  return [
    name,
    type,
    topics,
    retry.minMs,
    retry.maxMs,
    retry.multiplier,
    retry.jitter,
    limits.deliveryLimit,
    limits.visibilityTimeoutMs,
    limits.maxUnsettledSpan,
  ];
}

function declarationOf(data: PlainData): QueueDefinition {
  const [name, type, topics, minMs, maxMs, multiplier, jitter, ...limits] = list(data);
  const known = QUEUE_TYPES.find((each) => each === type);
  if (known === undefined) throw new CodecError('bad-value', 'the type of a queue');
  return {
    name: text(name),
    type: known,
    topics: list(topics).map(text),
    limits: {
      retry: {
        minMs: number(minMs),
        maxMs: number(maxMs),
        multiplier: number(multiplier),
        jitter: number(jitter),
      },
      deliveryLimit: number(limits[0]),
      visibilityTimeoutMs: number(limits[1]),
      maxUnsettledSpan: number(limits[2]),
    },
  };
}

function decodeBody(body: Uint8Array): PlainData {
  try {
    return decodeRecord(body);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'no plain data');
  }
}

function list(data: PlainData | undefined): readonly PlainData[] {
  if (!Array.isArray(data)) throw new CodecError('bad-value', 'a list was expected');
  return data as readonly PlainData[];
}

function text(data: PlainData | undefined): string {
  if (typeof data !== 'string') throw new CodecError('bad-value', 'a text was expected');
  return data;
}

function number(data: PlainData | undefined): number {
  if (typeof data !== 'number') throw new CodecError('bad-value', 'a number was expected');
  return data;
}
