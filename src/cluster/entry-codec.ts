/**
 * Entries of the log in a frame, one behind the other. Payloads are not looked into, and are views
 * of the frame that they came in.
 *
 *   u32 number of entries, then for each:
 *     u64 index, u64 term, u8 kind (0 commands, 1 configuration, 2 empty), u32 length, payload
 *
 * The payload of a configuration is that of `encodeConfiguration`.
 */

import { ConfigurationError, decodeConfiguration, encodeConfiguration } from '#raft';
import type { Configuration, Entry, EntryKind } from '#raft';
import { type FrameReader, type FrameWriter, U64_BYTES, malformed } from './frame-bytes.ts';
import { ENTRIES_MAX, TERM_MAX } from './peer-limits.ts';

const COUNT_BYTES = 4;
const HEAD_BYTES = 2 * U64_BYTES + 1 + 4;
const KINDS = ['commands', 'configuration', 'empty'] as const satisfies readonly EntryKind[];
const NOTHING = new Uint8Array(0);

export function entriesBytes(entries: readonly Entry[]): number {
  let bytes = COUNT_BYTES;
  for (const entry of entries) bytes += HEAD_BYTES + payloadOf(entry).length;
  return bytes;
}

export function writeEntries(writer: FrameWriter, entries: readonly Entry[]): void {
  writer.u32(entries.length);
  for (const entry of entries) {
    const payload = payloadOf(entry);
    writer.u64(entry.index);
    writer.u64(entry.term);
    writer.u8(KINDS.indexOf(entry.kind));
    writer.u32(payload.length);
    writer.bytes(payload);
  }
}

export function readEntries(reader: FrameReader): Entry[] {
  const count = reader.u32();
  if (count > ENTRIES_MAX) throw malformed(`${count} entries`);
  const entries: Entry[] = [];
  for (let left = count; left > 0; left -= 1) {
    const index = reader.u64();
    const term = readTerm(reader);
    const kind = KINDS[reader.u8()];
    const payload = reader.bytes(reader.u32());
    if (kind === undefined) throw malformed('an entry of an unknown kind');
    entries.push(
      kind === 'configuration'
        ? {
            index,
            term,
            kind,
            payload: NOTHING,
            configuration: readConfiguration(payload),
            local: undefined,
          }
        : { index, term, kind, payload, configuration: undefined, local: undefined },
    );
    if (kind === 'empty' && payload.length > 0) throw malformed('an empty entry with bytes');
  }
  return entries;
}

/** No cluster comes to such a term, and one that was taken would stay for good. */
export function readTerm(reader: FrameReader): number {
  const term = reader.u64();
  if (term > TERM_MAX) throw malformed(`term ${term}`);
  return term;
}

export function readConfiguration(bytes: Uint8Array): Configuration {
  try {
    return decodeConfiguration(bytes);
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw malformed(cause.message);
    throw cause;
  }
}

function payloadOf({ kind, payload, configuration }: Entry): Uint8Array {
  if (kind !== 'configuration') return payload;
  if (configuration === undefined) throw new Error('an entry of a configuration without one');
  return encodeConfiguration(configuration);
}
