/**
 * What waits for the end of the present turn of the event loop: connections that have bytes to
 * write, and connections that used up their share and read on in the next one.
 *
 * So each connection writes to its socket once a turn, however many messages it got, and nobody who
 * floods keeps the others from their turn.
 */

export interface TurnMember {
  /** Write what was collected. */
  endTurn(): void;
  /** Go on with the input that was left. */
  nextTurn(): void;
}

export class Turn {
  #number = 0;
  #writers: TurnMember[] = [];
  #readers: TurnMember[] = [];
  #scheduled = false;
  readonly #run = (): void => {
    this.#scheduled = false;
    this.#number++;
    const writers = this.#writers;
    const readers = this.#readers;
    this.#writers = [];
    this.#readers = [];
    for (const member of writers) member.endTurn();
    for (const member of readers) member.nextTurn();
  };

  /** Goes up with each turn. */
  get number(): number {
    return this.#number;
  }

  /** `member` asks once a turn. */
  writeAtEnd(member: TurnMember): void {
    this.#writers.push(member);
    this.#schedule();
  }

  /** `member` asks once a turn. */
  readNext(member: TurnMember): void {
    this.#readers.push(member);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#run);
  }
}
