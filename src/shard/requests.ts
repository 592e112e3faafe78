/**
 * Rare questions of the client to the shard, and their answers: plain data as in the records
 * (`record-codec.ts`), so that nothing in them can name a property or a class.
 *
 * ```
 *  request   ["stats"]
 *            ["declare", definition, ...]     machine/definitions.ts, `definitionData`
 *            ["stop"]
 *  reply     stats:   [name, number, name, number, ...]
 *            declare: ["created" | "same" | "updated", ...]
 *            stop:    []
 *            refused: the reason, for people
 * ```
 *
 * `stop` is answered when the log is closed with its mark of a clean stop; nothing follows it.
 */

import { definitionData, definitionOf } from '../machine/definitions.ts';
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
  return encodeRecord([
    request.kind,
    ...request.queues.map((queue) => definitionData(queue) as PlainData),
  ]);
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

function declarationOf(data: PlainData): QueueDefinition {
  try {
    return definitionOf(data as Parameters<typeof definitionOf>[0]);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'a definition');
  }
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
