/**
 * The two ends of a catch-up in a simulation: a checkpoint is asked for in small pieces, by place
 * and length, and built in the next directory of the replica.
 *
 * What an attempt has brought stays for the next one only if it is of the very same checkpoint. The
 * new log begins behind the checkpoint, and has the vote in it before it becomes current.
 */

import { crc32 } from 'node:zlib';
import type { Files, Log } from '#storage';
import type {
  CatchUpBuilding,
  CatchUpReading,
  CatchUpSink,
  CatchUpSource,
  CheckpointName,
} from '../host/catch-up-ports.ts';
import { LogDisk } from '../host/log-disk.ts';
import type { Entry, HardState } from '../raft.ts';
import type { ReplicaFiles } from './replica-files.ts';
import type { MachineState } from './state-machine.ts';
import type { StoredCheckpoint } from './stored-checkpoint.ts';

/** A state takes several of them. */
const PIECE_BYTES = 30;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Piece {
  readonly at: number;
  readonly length: number;
}

interface Summary {
  readonly bytes: number;
  readonly checksum: number;
}

export class StateSource implements CatchUpSource {
  readonly #checkpoint: () => StoredCheckpoint;

  constructor(checkpoint: () => StoredCheckpoint) {
    this.#checkpoint = checkpoint;
  }

  async open(): Promise<CatchUpReading | undefined> {
    const { index, term, configuration, state } = this.#checkpoint();
    if (index === 0) return undefined;
    const bytes = encoder.encode(JSON.stringify(state));
    const summary: Summary = { bytes: bytes.length, checksum: crc32(bytes) };
    return {
      checkpoint: { index, term, configuration },
      summary: encoder.encode(JSON.stringify(summary)),
      answer: async (question) => {
        const { at, length } = JSON.parse(decoder.decode(question)) as Piece;
        return bytes.slice(at, at + length);
      },
      close: () => undefined,
    };
  }
}

export interface SinkOptions {
  readonly files: Files;
  readonly replica: ReplicaFiles;
  /** It has begun to take the replica's place. */
  makingCurrent(): void;
  openLog(directory: string, behind: CheckpointName): Promise<Log>;
}

export class StateSink implements CatchUpSink {
  readonly #options: SinkOptions;
  #left: { readonly summary: string; readonly building: StateBuilding } | undefined;

  constructor(options: SinkOptions) {
    this.#options = options;
  }

  async begin(checkpoint: CheckpointName, summary: Uint8Array): Promise<CatchUpBuilding> {
    const text = decoder.decode(summary);
    const name = `${checkpoint.index} ${checkpoint.term} ${text}`;
    if (this.#left?.summary === name) {
      this.#left.building.goOn();
      return this.#left.building;
    }
    const building = new StateBuilding(this.#options, checkpoint, JSON.parse(text) as Summary);
    this.#left = { summary: name, building };
    return building;
  }

  forget(): void {
    this.#left = undefined;
  }
}

class StateBuilding implements CatchUpBuilding {
  readonly serveFrom: number;
  readonly #options: SinkOptions;
  readonly #checkpoint: CheckpointName;
  readonly #summary: Summary;
  readonly #bytes: Uint8Array;
  readonly #taken = new Set<number>();
  readonly #kept: Entry[] = [];
  #asked = 0;

  constructor(options: SinkOptions, checkpoint: CheckpointName, summary: Summary) {
    this.#options = options;
    this.#checkpoint = checkpoint;
    this.#summary = summary;
    this.#bytes = new Uint8Array(summary.bytes);
    this.serveFrom = checkpoint.index;
  }

  /** Another attempt asks for what is missing. */
  goOn(): void {
    this.#asked = 0;
  }

  next(): Uint8Array | 'wait' | 'complete' {
    const { bytes } = this.#summary;
    while (this.#asked < bytes && this.#taken.has(this.#asked)) this.#asked += PIECE_BYTES;
    if (this.#asked < bytes) {
      const piece: Piece = { at: this.#asked, length: PIECE_BYTES };
      this.#asked += PIECE_BYTES;
      return encoder.encode(JSON.stringify(piece));
    }
    return this.#taken.size * PIECE_BYTES >= bytes ? 'complete' : 'wait';
  }

  async take(question: Uint8Array, answer: Uint8Array): Promise<void> {
    const { at } = JSON.parse(decoder.decode(question)) as Piece;
    this.#bytes.set(answer, at);
    this.#taken.add(at);
  }

  async keep(entries: readonly Entry[]): Promise<void> {
    this.#kept.push(...entries);
  }

  async makeCurrent(hardState: HardState): Promise<void> {
    const { replica } = this.#options;
    if (crc32(this.#bytes) !== this.#summary.checksum) {
      throw new Error('a checkpoint was carried over wrongly');
    }
    this.#options.makingCurrent();
    const { index, term, configuration } = this.#checkpoint;
    const state = JSON.parse(decoder.decode(this.#bytes)) as MachineState;
    const next = await replica.next({ index, term, configuration, state });
    const log = await this.#options.openLog(next.logDirectory, this.#checkpoint);
    const disk = new LogDisk({
      log,
      note: () => ({ timestampMs: 0, recordCount: 1 }),
      openRepairs: () => Promise.resolve(undefined),
    });
    await new Promise<void>((resolve, reject) => {
      disk.listen({ persisted: () => resolve(), failed: reject });
      const entries = this.#kept;
      disk.write({ token: 1, hardState, truncateAfter: undefined, entries, repaired: [] });
    });
    await disk.close();
    await next.makeCurrent();
  }

  close(): void {
    this.#asked = 0;
  }
}
