/**
 * The main thread's questions to the thread of the shards, over the worker's own channel: each is
 * answered once, or rejected when the thread is gone. Bounded by whoever asks: the admin server
 * works on few requests at a time, and health asks one after the other.
 */

import {
  type Ask,
  type Asked,
  type WorkerHears,
  type WorkerSays,
  askedOver,
  errorOf,
} from './worker-talk.ts';

interface Waiting {
  resolve(told: unknown): void;
  reject(error: Error): void;
}

export class ThreadAsks {
  readonly asked: Asked = askedOver((ask) => this.#make(ask));
  readonly #post: (words: WorkerHears) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #over: Error | undefined;

  constructor(post: (words: WorkerHears) => void) {
    this.#post = post;
  }

  heard(said: Extract<WorkerSays, { kind: 'told' | 'not-told' }>): void {
    const waiting = this.#waiting.get(said.id);
    this.#waiting.delete(said.id);
    if (said.kind === 'told') waiting?.resolve(said.told);
    else waiting?.reject(errorOf(said.refusal));
  }

  /** The thread ended. */
  end(error: Error): void {
    this.#over = error;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }

  #make<Told>(ask: Ask): Promise<Told> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const id = this.#nextId++;
    return new Promise<Told>((resolve, reject) => {
      // Of the kind that was asked for: `answerTo` has one for each.
      this.#waiting.set(id, { resolve: (told) => resolve(told as Told), reject });
      this.#post({ kind: 'ask', id, ask });
    });
  }
}
