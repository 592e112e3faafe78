/**
 * One session as the server of the shard sees it: a port whose other side is in the hands of who
 * made it. What the server posts goes to `say` at once; `take` gives it what its sender said, `end`
 * tells it that nothing more comes. `closed` is called once when the server ends it.
 */

import type { BatchPort } from './port.ts';

export interface SessionPortOptions {
  say(bytes: Uint8Array): void;
  closed(): void;
}

export class SessionPort implements BatchPort {
  readonly #options: SessionPortOptions;
  #batch: ((bytes: Uint8Array) => void) | undefined;
  #gone: (() => void) | undefined;
  #isOver = false;
  /** What came before anybody listened. */
  #early: Uint8Array[] = [];

  constructor(options: SessionPortOptions) {
    this.#options = options;
  }

  take(bytes: Uint8Array): void {
    if (this.#isOver) return;
    if (this.#batch === undefined) this.#early.push(bytes);
    else this.#batch(bytes);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#gone?.();
  }

  post(bytes: Uint8Array): void {
    if (!this.#isOver) this.#options.say(bytes);
  }

  onBatch(listener: (bytes: Uint8Array) => void): void {
    this.#batch = listener;
    for (const bytes of this.#early.splice(0)) if (!this.#isOver) listener(bytes);
  }

  onClosed(listener: () => void): void {
    this.#gone = listener;
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.closed();
  }
}
