/**
 * One operation as a line of EDN, as Jepsen stores it: `{:type :ok, :f :enqueue, ...}`. Names of
 * keys, types and functions are keywords, nodes and values are strings.
 */

import { type Operation, isFault } from './operation.ts';

const KEYWORDS = new Set(['type', 'f', 'step']);

function text(value: string): string {
  // JSON's escapes are EDN's, but for \u2028 and the like, which JSON.stringify leaves as they are.
  return JSON.stringify(value);
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return 'nil';
  if (Array.isArray(value)) return `[${value.map(plain).join(' ')}]`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return text(value);
  throw new Error(`no EDN for a ${typeof value}`);
}

function field(key: string, value: unknown): string {
  if (KEYWORDS.has(key)) return `:${key} :${String(value)}`;
  // Jepsen knows its nemesis by the keyword.
  if (key === 'process' && typeof value === 'string') return `:process :${value}`;
  return `:${key} ${plain(value)}`;
}

export function edn(operation: Operation): string {
  const fields = Object.entries(operation).map(([key, value]) => field(key, value));
  // Jepsen wants a value of every operation.
  if (!('value' in operation)) {
    fields.push(field('value', isFault(operation) ? operation.nodes : undefined));
  }
  return `{${fields.join(', ')}}`;
}
