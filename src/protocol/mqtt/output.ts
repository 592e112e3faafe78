/**
 * What one connection sends: collected over a turn, then written to the transport once.
 *
 * `waiting` counts everything that the kernel has not taken yet; who adds bytes of others' making
 * (deliveries) asks first. Nothing is written after `end` or `cut`.
 */

import { ByteWriter } from '../bytes.ts';
import type { Transport } from '../transport.ts';
import type { Turn, TurnMember } from './turn.ts';

/** What is collected beyond this goes out at once, so that the buffer stays small. */
const CHUNK_BYTES = 65_536;

export class Output {
  readonly writer = new ByteWriter();
  readonly #transport: Transport;
  readonly #turn: Turn;
  readonly #member: TurnMember;
  #asked = false;
  #over = false;
  #writtenBefore = 0;

  constructor(transport: Transport, turn: Turn, member: TurnMember) {
    this.#transport = transport;
    this.#turn = turn;
    this.#member = member;
  }

  /** Bytes that wait here and in the transport. */
  get waiting(): number {
    return this.writer.pending + this.#transport.waiting;
  }

  /** Something went out since this was asked last; a socket takes a microsecond or two to tell. */
  advanced(): boolean {
    const { written } = this.#transport;
    const before = this.#writtenBefore;
    this.#writtenBefore = written;
    return written !== before;
  }

  /** Call after each packet that was appended to `writer`. */
  appended(): void {
    if (this.writer.pending >= CHUNK_BYTES) this.writeOut();
    this.ask();
  }

  /** Has the member's `endTurn` called at the end of this turn. */
  ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#turn.writeAtEnd(this.#member);
  }

  /** First thing in the member's `endTurn`. */
  endTurn(): void {
    this.#asked = false;
    this.writeOut();
  }

  writeOut(): void {
    if (this.writer.pending === 0) return;
    const bytes = this.writer.take();
    if (!this.#over) this.#transport.write(bytes);
  }

  /**
   * Bytes that many connections share, unchanged by all: behind what was collected, without a copy.
   */
  writeShared(bytes: Uint8Array): void {
    this.writeOut();
    if (!this.#over) this.#transport.write(bytes);
  }

  /** Writes what there is and says that nothing follows. */
  end(): void {
    if (this.#over) return;
    this.writeOut();
    this.#over = true;
    this.#transport.end();
  }

  /** Nothing more, and what waits is not written. */
  cut(): void {
    this.#over = true;
    this.#transport.cut();
  }
}
