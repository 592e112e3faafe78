/**
 * Entries that came from a peer in place of damaged ones, in a small log of their own beside the
 * log.
 *
 * The damaged bytes stay where they are: no byte of a log is written twice. A repaired entry
 * belongs to the segment in which its own was damaged, so one is never taken for an entry that was
 * written there later, behind a cut: a segment's id is not used again. Each is checked when it is
 * read back, as everything is that a log gives. In memory: one place for each repaired entry.
 *
 *   offset size
 *        0  u8   format version, 1
 *        1  u8   kind: 0 commands, 1 configuration, 2 empty
 *        4  u32  segment id
 *        8  u64  index
 *       16  u64  term
 *       24       payload; of a configuration, its encoding
 *
 * A u64 is two u32, the low one first.
 */

import type { Log } from '#storage';
import type { Entry, EntryKind } from '../core/entry.ts';
import type { LogIndex, Term } from '../core/ids.ts';
import { decodeConfiguration, encodeConfiguration } from './configuration-codec.ts';

type StorageIndex = Log['start'];

const FORMAT = 1;
const HEAD_BYTES = 24;
const READ_BYTES = 1 << 20;
const TWO_32 = 0x1_0000_0000;
const KINDS: readonly EntryKind[] = ['commands', 'configuration', 'empty'];
const NOTHING = new Uint8Array(0);

interface Place {
  readonly term: Term;
  /** Of the batch in the log of repairs. */
  readonly at: StorageIndex;
}

export class RepairedEntries {
  readonly #log: Log;
  /** By the id of the segment, then by index. */
  readonly #segments = new Map<number, Map<LogIndex, Place>>();

  private constructor(log: Log) {
    this.#log = log;
  }

  /** Reads what was repaired earlier; owns the log from then on. */
  static async open(log: Log): Promise<RepairedEntries> {
    const repaired = new RepairedEntries(log);
    for (let next = log.start; next <= log.last;) {
      const outcome = await log.read(next, { maxBytes: READ_BYTES });
      if (outcome.kind === 'faulty') {
        // Damaged a second time: it is repaired again.
        next = ((outcome.range.through ?? log.last) + 1) as StorageIndex;
        continue;
      }
      if (outcome.kind === 'truncated' || outcome.batches.length === 0) break;
      for (const { index, payload } of outcome.batches) {
        next = (index + 1) as StorageIndex;
        repaired.#note(payload, index);
      }
    }
    return repaired;
  }

  has(segmentId: number, index: LogIndex): boolean {
    return this.#segments.get(segmentId)?.has(index) === true;
  }

  termOf(segmentId: number, index: LogIndex): Term | undefined {
    return this.#segments.get(segmentId)?.get(index)?.term;
  }

  /** Resolves when all of them are durable. */
  async add(
    entries: readonly { readonly segmentId: number; readonly entry: Entry }[],
  ): Promise<void> {
    const log = this.#log;
    const noted: { readonly head: Uint8Array; readonly at: StorageIndex }[] = [];
    for (const { segmentId, entry } of entries) {
      const { configuration } = entry;
      const body = configuration === undefined ? entry.payload : encodeConfiguration(configuration);
      const head = headOf(segmentId, entry);
      const payload = [head, body];
      noted.push({ head, at: log.append({ epoch: 1, timestampMs: 0, recordCount: 1, payload }) });
    }
    const last = noted.at(-1)?.at;
    if (last === undefined) return;
    await log.appended(last);
    for (const { head, at } of noted) this.#note(head, at);
  }

  /** From `from` on, as far as they were repaired without a gap, up to `maxBytes` of payloads. */
  async read(segmentId: number, from: LogIndex, maxBytes: number): Promise<readonly Entry[]> {
    const places = this.#segments.get(segmentId);
    const entries: Entry[] = [];
    let bytes = 0;
    for (let index = from; ; index++) {
      const place = places?.get(index);
      if (place === undefined || (entries.length > 0 && bytes >= maxBytes)) return entries;
      const outcome = await this.#log.read(place.at, { maxBytes: 1 });
      const batch = outcome.kind === 'batches' ? outcome.batches[0] : undefined;
      if (batch === undefined) {
        places?.delete(index);
        return entries;
      }
      const entry = entryOf(batch.payload);
      entries.push(entry);
      bytes += entry.payload.length;
    }
  }

  /** What lies before this index, or behind `last`, is not wanted any more. */
  async forget(start: LogIndex, last: LogIndex): Promise<void> {
    for (const [segmentId, places] of this.#segments) {
      for (const index of places.keys()) if (index < start || index > last) places.delete(index);
      if (places.size === 0) this.#segments.delete(segmentId);
    }
    const log = this.#log;
    if (this.#segments.size === 0 && log.start <= log.last) {
      await log.truncatePrefix((log.durable + 1) as StorageIndex);
    }
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #note(bytes: Uint8Array, at: StorageIndex): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes[0] !== FORMAT) throw new Error(`a repaired entry has format ${bytes[0] ?? 'none'}`);
    const segmentId = view.getUint32(4, true);
    let places = this.#segments.get(segmentId);
    if (places === undefined) {
      places = new Map();
      this.#segments.set(segmentId, places);
    }
    places.set(getU64(view, 8), { term: getU64(view, 16), at });
  }
}

function headOf(segmentId: number, { index, term, kind }: Entry): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = FORMAT;
  bytes[1] = KINDS.indexOf(kind);
  view.setUint32(4, segmentId, true);
  setU64(view, 8, index);
  setU64(view, 16, term);
  return bytes;
}

function entryOf(bytes: Uint8Array): Entry {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KINDS[bytes[1] ?? 0] ?? 'commands';
  const body = bytes.subarray(HEAD_BYTES);
  return {
    index: getU64(view, 8),
    term: getU64(view, 16),
    kind,
    payload: kind === 'commands' ? body : NOTHING,
    configuration: kind === 'configuration' ? decodeConfiguration(body) : undefined,
    local: undefined,
  };
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_32, true);
  view.setUint32(at + 4, Math.floor(value / TWO_32), true);
}

function getU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true);
}
