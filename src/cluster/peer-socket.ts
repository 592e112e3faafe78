/**
 * One connection between two nodes, as both of its ends have it: batches out, batches in, signs of
 * life in both directions, and an end. Who is at the other end, and what may come, is for its user;
 * until that said `trust`, nothing is read that is longer than a hello.
 *
 * Whatever is wrong with what came is told once, and nothing is handed on from then on. An end in
 * order sends what was written before, for as long as last words take; then the socket is closed.
 */

import type { OnReadOpts, Socket } from 'node:net';
import { type InFrame, decodeBatch, encodeBatch } from './batch.ts';
import { BatchReader } from './batch-reader.ts';
import { LAST_WORDS_MS, PULSES_MISSED_MAX, PULSE_MS, WRITE_BYTES_MAX } from './peer-limits.ts';
import type { OutStream } from './peer-stream.ts';
import type { Living, Pulse } from './pulse.ts';
import { PeerError } from './refusals.ts';

export interface SocketUser {
  /**
   * All of one batch, whose bytes hold for the call alone where they are less than half of their
   * memory (`ownBytes`). Throws a `PeerError` where it is not what may come.
   */
  frames(frames: readonly InFrame[], bytes: number): void;
  /** What came is wrong. Nothing else will, and the user ends it. */
  wrong(error: PeerError): void;
  /** Once, unless this side has ended it: the other side did, or the network. */
  gone(why: string): void;
}

const SIGN_OF_LIFE = encodeBatch([]);
const SILENT_S = (PULSES_MISSED_MAX * PULSE_MS) / 1_000;

export class PeerSocket implements OutStream, Living {
  readonly #user: SocketUser;
  readonly #pulse: Pulse;
  readonly #reader: BatchReader;
  readonly #socket: Socket;
  #lastWords: NodeJS.Timeout | undefined;
  #isOver = false;
  #isTrusted = false;
  /** Since the last pulse. */
  #hasHeard = false;
  #hasSaid = false;
  #missed = 0;

  /** `open` gives a socket, with those options where it makes one. */
  constructor(open: (onread: OnReadOpts) => Socket, user: SocketUser, pulse: Pulse) {
    this.#user = user;
    this.#pulse = pulse;
    const reader = new BatchReader((batch) => this.#batch(batch));
    this.#reader = reader;
    const socket = open({
      buffer: () => reader.room,
      callback: (bytes, room) => {
        this.#take(Buffer.from(room.buffer, room.byteOffset, bytes));
        return true;
      },
    });
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    socket.on('error', (error) => this.#gone(error.message));
    socket.on('end', () => this.#gone('the peer ended it'));
    socket.on('close', () => {
      clearTimeout(this.#lastWords);
      this.#gone('it was closed');
    });
  }

  /** The other end is known: from now on it may say so much at a time, and has to live. */
  trust(batchBytesMax: number): void {
    if (this.#isOver) return;
    this.#isTrusted = true;
    this.#reader.batchBytesMax = batchBytesMax;
    this.#pulse.add(this);
  }

  write(batch: Buffer, taken: () => void): void {
    if (this.#isOver) return;
    this.#hasSaid = true;
    this.#writeFrom(batch, 0, taken);
  }

  /** In order. */
  end(): void {
    if (this.#isOver) return;
    this.#over();
    this.#socket.end();
    this.#lastWords = setTimeout(() => this.#socket.destroy(), LAST_WORDS_MS);
  }

  /** At once. */
  destroy(): void {
    this.#over();
    this.#socket.destroy();
  }

  pulse(): void {
    this.#missed = this.#hasHeard ? 0 : this.#missed + 1;
    this.#hasHeard = false;
    if (this.#missed >= PULSES_MISSED_MAX) {
      this.#gone(`it was silent for ${SILENT_S} s`);
      return;
    }
    if (!this.#hasSaid && this.#socket.writableLength === 0) this.#socket.write(SIGN_OF_LIFE);
    this.#hasSaid = false;
  }

  /** In pieces: TLS takes all that it is given at once, and turns it over in one go. */
  #writeFrom(batch: Buffer, at: number, taken: () => void): void {
    const end = Math.min(at + WRITE_BYTES_MAX, batch.length);
    this.#socket.write(batch.subarray(at, end), (error) => {
      if (this.#isOver || (error !== null && error !== undefined)) return;
      if (end < batch.length) this.#writeFrom(batch, end, taken);
      else taken();
    });
  }

  #take(bytes: Buffer): void {
    if (this.#isOver) return;
    this.#hasHeard = true;
    try {
      this.#reader.take(bytes);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      if (!this.#isOver) this.#user.wrong(error);
    }
  }

  #batch(batch: Buffer): void {
    // Whoever heard the one before may have ended it.
    if (this.#isOver) return;
    const frames = decodeBatch(batch);
    if (frames.length > 0 || !this.#isTrusted) this.#user.frames(frames, batch.length);
  }

  #gone(why: string): void {
    if (this.#isOver) return;
    this.destroy();
    this.#user.gone(why);
  }

  #over(): void {
    this.#isOver = true;
    this.#pulse.delete(this);
  }
}
