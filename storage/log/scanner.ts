/**
 * Turns the bytes of one segment into findings: sound batches, bad stretches, the end. Pure: no
 * I/O, no clock; bytes come in windows of any size, each byte once, and memory is bounded by the
 * window.
 *
 * It judges a batch by itself (header, payload, whose it is, where it is); order and chain are for
 * `recovery.ts`. Behind a header that is not sound the length is unknown, so it looks for the next
 * header that belongs exactly where it stands; behind a bad payload it goes on at the end that the
 * sound header gives.
 */

import { BatchKind, decodeHeader, emptyHeader, HEADER_BYTES, MAGIC, windowOver } from './batch.ts';
import type { BatchHeader, LogIdHalves, Window } from './batch.ts';
import { crc32 } from './checksum.ts';
import type { Fault } from './log-types.ts';
import {
  firstNonZero,
  isZero,
  lastNonZeroEnd,
  sectorEnd,
  ZeroSectorCount,
} from './zero-sectors.ts';

/** Most bytes that `consume` ever leaves unread, if the file goes on. */
export const MAX_LEFT_OVER_BYTES = 1024;
const LARGEST_HARD_STATE_BYTES = 64 * 1024;

export interface BadStretch {
  readonly position: number;
  readonly end: number;
  readonly fault: Fault;
  /** A sector of it reads as never written, although its batch was not written so. */
  readonly zeroSector: boolean;
  /** The file ends inside of it. */
  readonly cutByEnd: boolean;
  /** The header, where it is sound and only the payload is bad; valid during the call only. */
  readonly header: BatchHeader | undefined;
}

export interface ScanSink {
  /** The header is valid during the call only. The payload comes with hard states only. */
  batch(header: BatchHeader, hardState: Uint8Array | undefined): void;
  bad(stretch: BadStretch): void;
  /** Nothing but zeros from `position` to the end of the file, or nothing at all. */
  end(position: number): void;
}

export interface ScannedSegment {
  readonly logId: LogIdHalves;
  readonly segmentId: number;
  /** Where the bytes end. */
  readonly end: number;
}

type State = 'header' | 'payload' | 'zeros' | 'search' | 'done';

export class SegmentScanner {
  readonly #segment: ScannedSegment;
  readonly #sink: ScanSink;
  readonly #header = emptyHeader();
  readonly #zeros = new ZeroSectorCount();
  #state: State = 'header';
  #position = 0;
  #remaining = 0;
  #crc = 0;
  #hardState: Uint8Array[] = [];
  // The bad stretch that has begun and whose end is not known yet.
  #badFrom = 0;
  #badDataEnd = 0;
  #badFault: Fault = 'bad-header';
  #badZeroSector = false;

  constructor(segment: ScannedSegment, sink: ScanSink) {
    this.#segment = segment;
    this.#sink = sink;
  }

  /** Position of the next byte that it wants. */
  get position(): number {
    return this.#position;
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /**
   * Takes bytes that begin at `position` and returns how many it has read. It leaves less than
   * MAX_LEFT_OVER_BYTES, and nothing if the window reaches the end of the file.
   */
  consume(bytes: Uint8Array): number {
    const window = windowOver(bytes);
    const start = this.#position;
    let before: State | undefined;
    let beforePosition = -1;
    while (this.#state !== 'done') {
      if (this.#state === before && this.#position === beforePosition) break;
      before = this.#state;
      beforePosition = this.#position;
      this.#step(window, start);
    }
    return this.#position - start;
  }

  /** One step of the machine; a step without progress means that it needs more bytes. */
  #step(window: Window, start: number): void {
    const at = this.#position - start;
    switch (this.#state) {
      case 'header':
        this.#readHeader(window, at);
        break;
      case 'payload':
        this.#readPayload(window, at);
        break;
      case 'zeros':
        this.#skipZeros(window, at);
        break;
      case 'search':
        this.#search(window, at);
        break;
      case 'done':
        break;
    }
  }

  #reachesEnd(window: Window, at: number): boolean {
    return this.#position + (window.bytes.length - at) >= this.#segment.end;
  }

  #readHeader(window: Window, at: number): void {
    const rest = window.bytes.length - at;
    const final = this.#reachesEnd(window, at);
    if (rest === 0 && final) return this.#finish(this.#position);
    if (rest < HEADER_BYTES && !final) return;
    const sound = decodeHeader(window, at, this.#header);
    const fault = sound ? this.#foreign(this.#header, this.#position) : 'bad-header';
    if (fault === undefined) {
      this.#beginPayload();
      return;
    }
    const whole = Math.min(sectorEnd(this.#position + HEADER_BYTES - 1), this.#segment.end);
    const needed = whole - this.#position;
    if (rest < needed) return;
    if (isZero(window.bytes, at, at + needed)) {
      this.#badFrom = this.#position;
      this.#state = 'zeros';
      return;
    }
    this.#beginBad(this.#position, fault, sound ? false : this.#hasZeroSector(window, at, whole));
    this.#state = 'search';
    if (rest < HEADER_BYTES) {
      this.#searched(window, at, window.bytes.length);
      this.#endBadAtEnd(true);
      return;
    }
    this.#searched(window, at, at + 1);
  }

  /** Whether a sector under this header is zero from the batch's first byte on. */
  #hasZeroSector(window: Window, at: number, whole: number): boolean {
    let from = this.#position;
    while (from < whole) {
      const end = Math.min(sectorEnd(from), whole);
      if (isZero(window.bytes, at + from - this.#position, at + end - this.#position)) return true;
      from = end;
    }
    return false;
  }

  #foreign(header: BatchHeader, position: number): Fault | undefined {
    const { logId, segmentId } = this.#segment;
    if (header.logIdLow !== logId.low || header.logIdHigh !== logId.high) return 'foreign-log';
    if (header.segmentId !== segmentId || header.position !== position) return 'misdirected';
    return undefined;
  }

  #beginPayload(): void {
    const header = this.#header;
    this.#remaining = header.payloadLength;
    this.#crc = 0;
    this.#hardState = [];
    this.#position += HEADER_BYTES;
    this.#zeros.begin(this.#position);
    this.#state = 'payload';
  }

  #readPayload(window: Window, at: number): void {
    const header = this.#header;
    const take = Math.min(this.#remaining, window.bytes.length - at);
    const part = window.bytes.subarray(at, at + take);
    if (take > 0) {
      this.#crc = crc32(part, this.#crc);
      this.#zeros.add(window.bytes, at, at + take);
      if (this.#keepsPayload()) this.#hardState.push(new Uint8Array(part));
      this.#remaining -= take;
      this.#position += take;
    }
    if (this.#remaining === 0) {
      this.#state = 'header';
      if (this.#crc === header.payloadCrc) this.#sink.batch(header, this.#hardStatePayload());
      else this.#badPayload(false);
      return;
    }
    if (!this.#reachesEnd(window, at + take)) return;
    this.#badPayload(true);
    this.#finish(this.#position);
  }

  #keepsPayload(): boolean {
    const { kind, payloadLength } = this.#header;
    return kind === BatchKind.hardState && payloadLength <= LARGEST_HARD_STATE_BYTES;
  }

  #hardStatePayload(): Uint8Array | undefined {
    return this.#keepsPayload() ? Buffer.concat(this.#hardState) : undefined;
  }

  #badPayload(cutByEnd: boolean): void {
    const header = this.#header;
    this.#sink.bad({
      position: header.position,
      end: this.#position,
      fault: 'bad-payload',
      zeroSector: this.#zeros.end() > header.zeroSectors && this.#zeros.unwritten > 0,
      cutByEnd,
      header,
    });
  }

  #skipZeros(window: Window, at: number): void {
    const { bytes } = window;
    const next = firstNonZero(bytes, at, bytes.length);
    const final = this.#reachesEnd(window, at);
    this.#position += next - at;
    if (next < bytes.length) {
      this.#beginBad(this.#badFrom, 'bad-header', true);
      this.#state = 'search';
    } else if (final) {
      this.#finish(this.#badFrom);
    }
  }

  /** Looks for the next header that belongs where it stands. */
  #search(window: Window, at: number): void {
    const { bytes } = window;
    const final = this.#reachesEnd(window, at);
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let from = at;
    for (;;) {
      const found = buffer.indexOf(MAGIC, from);
      if (found < 0) {
        const keep = final ? 0 : Math.min(MAGIC.length - 1, bytes.length - at);
        this.#searched(window, at, bytes.length - keep);
        if (final) this.#endBadAtEnd(false);
        return;
      }
      if (found + HEADER_BYTES > bytes.length && !final) return this.#searched(window, at, found);
      const position = this.#position + found - at;
      if (decodeHeader(window, found, this.#header) && !this.#foreign(this.#header, position)) {
        this.#searched(window, at, found);
        this.#emitBad(position, false);
        this.#state = 'header';
        return;
      }
      from = found + 1;
    }
  }

  #searched(window: Window, at: number, to: number): void {
    const dataEnd = lastNonZeroEnd(window.bytes, at, to);
    if (dataEnd > at) this.#badDataEnd = this.#position + dataEnd - at;
    this.#position += to - at;
  }

  #beginBad(position: number, fault: Fault, zeroSector: boolean): void {
    this.#badFrom = position;
    this.#badFault = fault;
    this.#badZeroSector = zeroSector;
    this.#badDataEnd = position + 1;
  }

  #endBadAtEnd(cutByEnd: boolean): void {
    this.#emitBad(this.#badDataEnd, cutByEnd);
    this.#finish(this.#badDataEnd);
  }

  #emitBad(end: number, cutByEnd: boolean): void {
    this.#sink.bad({
      position: this.#badFrom,
      end,
      fault: this.#badFault,
      zeroSector: this.#badZeroSector,
      cutByEnd,
      header: undefined,
    });
  }

  #finish(position: number): void {
    this.#state = 'done';
    this.#sink.end(position);
  }
}
