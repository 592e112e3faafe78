/**
 * Whether this node leads the shard, and serves it: it does so from when every entry of an earlier
 * term is applied here, until it hears that it leads no more.
 *
 * Each time, what serves is made anew, because all of it is soft state; what was under way with the
 * one before hears that it is over. Others hear of an election before the one who won it serves:
 * their sessions wait here until it does, or leads no more. A crash here loses nothing.
 */

import type { LogIndex } from '../machine/ids.ts';
import type { BatchPort } from './port.ts';
import type { ShardLead } from './shard-options.ts';

export interface Served {
  /** What must be there before the port is served. */
  prepare(): Promise<void>;
  start(): void;
  /** One session of a sender; false: not yet. */
  serve(port: BatchPort): boolean;
  fail(error: Error): void;
}

export interface LeadershipOptions<Serving extends Served> {
  appliedIndex(): LogIndex;
  /** Everything before `first` is applied. */
  make(term: number, first: LogIndex): Serving;
  /** It serves although not everything could be prepared. */
  unprepared(error: Error): void;
  /** `here` once the port is served. */
  onLead(lead: ShardLead): void;
}

export class Leadership<Serving extends Served> {
  readonly #options: LeadershipOptions<Serving>;
  #elected: { readonly term: number; readonly first: LogIndex } | undefined;
  #serving: Serving | undefined;
  /** Sessions that were asked for before it serves. */
  readonly #early = new Set<BatchPort>();
  #waiting: { resolve(): void; reject(error: Error): void } | undefined;

  constructor(options: LeadershipOptions<Serving>) {
    this.#options = options;
  }

  get serving(): Serving | undefined {
    return this.#serving;
  }

  /** One session of a sender, at once or as soon as that can be; false: this node does not lead. */
  serve(port: BatchPort): boolean {
    if (this.#serving?.serve(port) === true) return true;
    if (this.#serving === undefined && this.#elected === undefined) return false;
    this.#early.add(port);
    port.onClosed(() => void this.#early.delete(port));
    return true;
  }

  /** The first time: resolves when the port is served, rejects when that cannot be. */
  served(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Nobody waits for it: it comes when it comes. */
  servesUnasked(): void {
    this.#waiting = undefined;
  }

  leads(term: number, first: LogIndex): void {
    this.#elected = { term, first };
    this.look();
  }

  follows(server: string | undefined): void {
    this.#elected = undefined;
    this.#end(new Error('this node does not lead the shard any more'));
    this.#options.onLead(server === undefined ? { kind: 'nobody' } : { kind: 'there', server });
  }

  /** When something was applied. */
  look(): void {
    const elected = this.#elected;
    if (elected === undefined || this.#options.appliedIndex() < elected.first - 1) return;
    this.#elected = undefined;
    const serving = this.#options.make(elected.term, elected.first);
    this.#serving = serving;
    serving.prepare().then(
      () => this.#start(serving),
      (error: unknown) => this.#unprepared(serving, error),
    );
  }

  /** Nothing works any more. */
  fail(error: Error): void {
    this.#elected = undefined;
    this.#end(error);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  #start(serving: Serving): void {
    if (this.#serving !== serving) return;
    serving.start();
    const early = [...this.#early];
    this.#early.clear();
    for (const port of early) serving.serve(port);
    this.#options.onLead({ kind: 'here' });
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  #unprepared(serving: Serving, error: unknown): void {
    if (this.#serving !== serving) return;
    const why = error instanceof Error ? error : new Error(String(error));
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) {
      waiting.reject(why);
      return;
    }
    this.#options.unprepared(why);
    this.#start(serving);
  }

  #end(error: Error): void {
    const serving = this.#serving;
    this.#serving = undefined;
    serving?.fail(error);
    const early = [...this.#early];
    this.#early.clear();
    for (const port of early) port.close();
  }
}
