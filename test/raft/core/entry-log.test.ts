/**
 * The log of the core against an array: appends, truncation at both ends, writes and their
 * completions in whatever order they may come.
 */

import { fc } from '../../support/properties.ts';
import { expect, it } from 'vitest';
import type { Entry, Recovered } from '#raft';
import { EntryLog } from '../../../raft/core/entry-log.ts';
import { WriteLedger } from '../../../raft/core/write-ledger.ts';
import { entry } from './messages.ts';

const NEW: Recovered = {
  hardState: { term: 0, vote: undefined },
  start: 1,
  termBeforeStart: 0,
  last: 0,
  terms: [],
  configurations: [{ index: 0, configuration: { members: [] } }],
  applied: 0,
  faulty: [],
  serveFrom: 0,
};

const step = fc.tuple(
  fc.constantFrom('append', 'newTerm', 'cut', 'submit', 'complete', 'compact', 'forget'),
  fc.nat(9),
);

class Model {
  readonly ledger = new WriteLedger();
  readonly log = new EntryLog(NEW, this.ledger);
  /** Terms by index, from 0 on. */
  readonly terms: number[] = [0];
  /** What a disk would hold, by index: written, and synced so far. */
  disk: (Entry | undefined)[] = [];
  readonly writes: { token: number; cut: number | undefined; entries: readonly Entry[] }[] = [];
  start = 1;
  term = 1;

  get last(): number {
    return this.terms.length - 1;
  }

  run(kind: string, choice: number): void {
    const { log } = this;
    if (kind === 'newTerm') this.term += 1;
    else if (kind === 'append') this.#append(1 + (choice % 3));
    else if (kind === 'cut') this.#cut(choice);
    else if (kind === 'submit') this.#submit();
    else if (kind === 'complete') this.#complete();
    else if (kind === 'compact') this.#compact(choice);
    else log.forget(log.durable, log.durable - choice, 200);
  }

  #append(count: number): void {
    for (let done = 0; done < count; done += 1) {
      this.log.append(entry(this.last + 1, this.term));
      this.terms.push(this.term);
    }
  }

  #cut(choice: number): void {
    const kept = this.last - 1 - choice;
    if (kept < this.start - 1) return;
    this.log.truncateSuffix(kept);
    this.terms.length = kept + 1;
    this.term += 1;
  }

  #submit(): void {
    if (!this.log.hasUnsubmitted) return;
    const { truncateAfter, entries } = this.log.submit();
    const through = this.log.last;
    const rest = { hardState: false, snapshot: undefined, repaired: [], tick: 0 };
    const token = this.ledger.nextToken;
    this.ledger.submit({ token, through, ...rest });
    this.writes.push({ token, cut: truncateAfter, entries });
  }

  #complete(): void {
    const write = this.writes.shift();
    if (write === undefined) return;
    if (write.cut !== undefined) this.disk.length = Math.min(this.disk.length, write.cut + 1);
    for (const written of write.entries) this.disk[written.index] = written;
    const done = this.ledger.complete(write.token);
    if (done !== undefined) this.log.completed(done.through);
  }

  #compact(choice: number): void {
    const start = Math.min(this.start + choice, this.log.durable + 1);
    if (start <= this.start) return;
    this.log.truncatePrefix(start);
    this.start = start;
  }
}

it('has the terms of the array, and calls durable only what a disk holds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Model();
      for (const [kind, choice] of steps) {
        model.run(kind, choice);
        const { log, terms, start, last } = model;
        expect([log.start, log.last, log.lastTerm]).toEqual([start, last, terms[last]]);
        for (let index = 0; index <= last + 1; index += 1) {
          expect(log.termAt(index)).toBe(index < start - 1 ? undefined : terms[index]);
        }
        expect(log.submitted).toBeGreaterThanOrEqual(log.durable);
        for (let index = start; index <= log.durable; index += 1) {
          expect(model.disk[index]?.term).toBe(terms[index]);
        }
        for (let index = log.durable + 1; index <= last; index += 1) {
          expect(log.inMemory(index)?.term).toBe(terms[index]);
        }
      }
    }),
    { numRuns: 300 },
  );
});

it('highestWithTermUpTo: the last index up to there whose term is not above', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(20), fc.nat(8), (steps, from, term) => {
      const model = new Model();
      for (const [kind, choice] of steps) model.run(kind, choice);
      let expected: number | undefined;
      for (let index = model.start - 1; index <= Math.min(from, model.last); index += 1) {
        if ((model.terms[index] ?? 0) <= term) expected = index;
      }
      expect(model.log.highestWithTermUpTo(from, term)).toBe(expected);
    }),
  );
});

it('only what is in the log is cut, and what follows has no gap', () => {
  const log = new EntryLog(NEW, new WriteLedger());
  expect(() => log.append(entry(2, 1))).toThrow('no gaps');
  log.append(entry(1, 3));
  expect(() => log.append(entry(2, 2))).toThrow('never go back');
  expect(() => log.truncateSuffix(1)).toThrow('lies in the log');
  expect(() => log.truncatePrefix(2)).toThrow('only what is durable');
});
