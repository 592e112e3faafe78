/**
 * Segment images built batch by batch, with any wish for what is wrong; and recovery over them,
 * purely.
 */

import {
  BatchKind,
  encodeAccepted,
  encodeHardState,
  encodeWritten,
  HEADER_BYTES,
  windowOver,
} from '../../storage/log/batch.ts';
import { crc32 } from '../../storage/log/checksum.ts';
import { firstChain, logIdHalves } from '../../storage/log/log-id.ts';
import type { HardState } from '../../storage/log/log-types.ts';
import type { Manifest } from '../../storage/log/manifest.ts';
import { FIRST_PLACE } from '../../storage/log/positions.ts';
import type {
  Epoch,
  FilePosition,
  LogIndex,
  Place,
  SegmentId,
} from '../../storage/log/positions.ts';
import { Recovery } from '../../storage/log/recovery.ts';
import type { RecoveryDecision } from '../../storage/log/recovery.ts';
import { SegmentScanner } from '../../storage/log/scanner.ts';
import { ZeroSectorCount } from '../../storage/log/zero-sectors.ts';

export const LOG_ID = '00112233aabbccdd';

export interface BatchWish {
  readonly kind?: BatchKind;
  readonly index?: number;
  readonly epoch?: number;
  readonly payload?: Uint8Array;
  readonly hardState?: HardState;
  readonly mark?: Place;
  readonly chain?: number;
  readonly logId?: string;
  readonly segmentId?: number;
  readonly position?: number;
}

export interface Written {
  readonly position: number;
  readonly end: number;
}

/** One segment file in the making. */
export class SegmentImage {
  readonly segmentId: SegmentId;
  readonly firstIndex: LogIndex;
  #memory = Buffer.alloc(64 * 1024);
  #length = 0;
  #index: number;
  #epoch = 1;
  #chain: number;

  constructor(segmentId = 1, firstIndex = 1, chain = firstChain(LOG_ID)) {
    this.segmentId = segmentId as SegmentId;
    this.firstIndex = firstIndex as LogIndex;
    this.#index = firstIndex - 1;
    this.#chain = chain;
  }

  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }
  get end(): number {
    return this.#length;
  }
  get chain(): number {
    return this.#chain;
  }
  /** The place behind everything so far. */
  get here(): Place {
    return { segmentId: this.segmentId, position: this.end as FilePosition };
  }

  add(wish: BatchWish = {}): Written {
    const kind = wish.kind ?? (wish.hardState ? BatchKind.hardState : BatchKind.entry);
    const payload =
      wish.payload ?? (wish.hardState ? encodeHardState(wish.hardState) : new Uint8Array(0));
    const index = wish.index ?? this.#index + (kind === BatchKind.entry ? 1 : 0);
    this.#epoch = wish.epoch ?? this.#epoch;
    const position = this.end;
    const batch = Buffer.alloc(HEADER_BYTES + payload.length);
    batch.set(payload, HEADER_BYTES);
    const zeros = new ZeroSectorCount();
    zeros.begin(position + HEADER_BYTES);
    zeros.add(payload, 0, payload.length);
    const window = windowOver(batch);
    encodeAccepted(window, 0, {
      kind,
      payloadLength: payload.length,
      recordCount: 1,
      payloadCrc: crc32(payload),
      index,
      epoch: this.#epoch,
      timestampMs: 1000 + index,
    });
    this.#chain = encodeWritten(window, 0, {
      logId: logIdHalves(wish.logId ?? LOG_ID),
      segmentId: wish.segmentId ?? this.segmentId,
      position: wish.position ?? position,
      chain: wish.chain ?? this.#chain,
      mark: wish.mark ?? FIRST_PLACE,
      zeroSectors: zeros.end(),
    });
    this.#index = index;
    return this.raw(batch);
  }

  /** Bytes that are no batch. */
  raw(bytes: Uint8Array): Written {
    const position = this.end;
    while (position + bytes.length > this.#memory.length) {
      this.#memory = Buffer.concat([this.#memory, Buffer.alloc(this.#memory.length)]);
    }
    this.#memory.set(bytes, position);
    this.#length += bytes.length;
    return { position, end: this.end };
  }

  zeros(length: number): Written {
    return this.raw(Buffer.alloc(length));
  }

  /** Overwrites what is there. */
  patch(position: number, bytes: Uint8Array): void {
    this.#memory.set(bytes, position);
  }

  flip(position: number, bit = 0): void {
    this.#memory[position] = (this.#memory[position] ?? 0) ^ (1 << bit);
  }

  cut(length: number): void {
    this.#memory.fill(0, length);
    this.#length = length;
  }
}

export interface ImageOptions {
  readonly manifest?: Partial<Manifest>;
  /** Sizes of the windows in which the scanner gets the bytes. */
  readonly pieceBytes?: number;
  /** Segments whose file is not there. */
  readonly missing?: readonly SegmentImage[];
}

/** Recovery of a log whose last segment is open and whose others are sealed. */
export function recover(
  images: readonly SegmentImage[],
  options: ImageOptions = {},
): RecoveryDecision {
  const segments = images.map((image, nth) => ({
    segmentId: image.segmentId,
    firstIndex: image.firstIndex,
    length: nth === images.length - 1 ? undefined : (image.end as FilePosition),
  }));
  const last = images.at(-1);
  const manifest: Manifest = {
    logId: LOG_ID,
    clean: false,
    start: images[0]?.firstIndex ?? (1 as LogIndex),
    epochBeforeStart: 0 as Epoch,
    durable: 0 as LogIndex,
    hardState: { term: 0, vote: '' },
    mark: { segmentId: last?.segmentId ?? (0 as SegmentId), position: 0 as FilePosition },
    nextSegmentId: 99 as SegmentId,
    segments,
    ...options.manifest,
  };
  const recovery = new Recovery(manifest, 512);
  for (const [nth, image] of images.entries()) {
    const segment = manifest.segments[nth];
    if (segment === undefined) continue;
    if (options.missing?.includes(image) === true) {
      recovery.missing(segment);
      continue;
    }
    recovery.begin(segment);
    const end = Math.min(image.end, segment.length ?? image.end);
    const logId = logIdHalves(LOG_ID);
    const scanner = new SegmentScanner({ logId, segmentId: image.segmentId, end }, recovery);
    feed(scanner, image.bytes.subarray(0, end), options.pieceBytes ?? 700);
  }
  return recovery.finish();
}

function feed(scanner: SegmentScanner, bytes: Uint8Array, pieceBytes: number): void {
  let available = 0;
  while (!scanner.done) {
    available = Math.min(bytes.length, available + pieceBytes);
    scanner.consume(bytes.subarray(scanner.position, available));
  }
}
