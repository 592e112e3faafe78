/**
 * What waits for the end of the present turn of the event loop: connections that have bytes to
 * write, connections that used up their share and read on in the next one, and long work that goes
 * on piece by piece.
 *
 * So each connection writes to its socket once a turn, however many messages it got, or once for
 * each half of a millisecond that others are read; and nobody who floods keeps the others from
 * their turn: a connection that reads has a share of it, which is small once the turn has been
 * long. All long work together has a millisecond of a turn, or one piece, whoever it is for: one
 * after the other, a piece each.
 */

import { Fifo } from './fifo.ts';

/** In units of about a microsecond: a packet, a delivery, so many bytes. */
const SHARE = 4_000;
/** What everybody has all the same, so that nobody waits for those who flood. */
const SHARE_OF_LONG_TURN = 128;
const LONG_TURN_MS = 2;
const WORK_MS = 1;
/** Hundreds of connections may have something to read, each a few microseconds. */
const UNWRITTEN_MS = 0.5;
/** The clock is looked at once for so many that are read. */
const READS_A_LOOK = 4;
/** Read, put together, handed on: half a MiB is a share. A quarter of it costs 8 % at QoS 0. */
export const BYTES_OF_WORK = 128;
/** Of each filter of a SUBSCRIBE. */
export const FILTER_WORK = 16;

export interface TurnMember {
  /** Write what was collected; in a long turn before its end. */
  endTurn(): void;
  /** Go on with the input that was left. */
  nextTurn(): void;
}

export class Turn {
  #number = 0;
  #writers: TurnMember[] = [];
  #readers: TurnMember[] = [];
  readonly #works = new Fifo<() => boolean>();
  #scheduled = false;
  /** By `performance.now`; 0: nobody has read in it. */
  #readSinceMs = 0;
  #reads = 0;
  /** By the same clock: what was collected before is written. */
  #writtenMs = 0;
  readonly #run = (): void => {
    this.#scheduled = false;
    this.#number++;
    this.#readSinceMs = 0;
    const readers = this.#readers;
    this.#readers = [];
    this.#write();
    const isWork = this.#works.length > 0;
    const endMs = isWork ? performance.now() + WORK_MS : 0;
    for (const member of readers) member.nextTurn();
    if (isWork) this.#workUntil(endMs);
  };

  /** Goes up with each turn. */
  get number(): number {
    return this.#number;
  }

  /** The work that a connection may do now; it asks once a turn. */
  takeShare(): number {
    const now = performance.now();
    if (this.#readSinceMs === 0) {
      this.#readSinceMs = now;
      this.#writtenMs = now;
      this.#schedule();
    }
    return now - this.#readSinceMs < LONG_TURN_MS ? SHARE : SHARE_OF_LONG_TURN;
  }

  /**
   * Bytes of a connection came, and are not looked at yet: in a turn that is long it writes first
   * what others wait for.
   */
  reads(): void {
    if (this.#writers.length === 0 || ++this.#reads % READS_A_LOOK !== 0) return;
    const now = performance.now();
    if (this.#readSinceMs === 0 || now - this.#writtenMs < UNWRITTEN_MS) return;
    this.#writtenMs = now;
    this.#write();
  }

  /** `member` asks once a turn, or once it has written. */
  writeAtEnd(member: TurnMember): void {
    this.#writers.push(member);
    this.#schedule();
  }

  /** `member` asks once a turn. */
  readNext(member: TurnMember): void {
    this.#readers.push(member);
    this.#schedule();
  }

  /** `piece` is done in turns to come, again and again as long as it says that there is more. */
  goOn(piece: () => boolean): void {
    this.#works.push(piece);
    this.#schedule();
  }

  #write(): void {
    const writers = this.#writers;
    this.#writers = [];
    for (const member of writers) member.endTurn();
  }

  #workUntil(endMs: number): void {
    for (let piece = this.#works.shift(); piece !== undefined; piece = this.#works.shift()) {
      if (piece()) this.#works.push(piece);
      if (performance.now() >= endMs) break;
    }
    if (this.#works.length > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#run);
  }
}
