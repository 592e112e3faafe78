import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { Pending } from '../../src/shard/pending.ts';
import type { RefusalReason } from '../../src/shard/shard-frames.ts';
import { Witness } from '../support/scripted-shard.ts';

type Step =
  | { readonly kind: 'add'; readonly count: number }
  | { readonly kind: 'refuse' }
  | { readonly kind: 'confirm'; readonly count: number; readonly refuseEach: number }
  | { readonly kind: 'expire'; readonly ms: number }
  | { readonly kind: 'fail' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), count: fc.integer({ min: 1, max: 900 }) }),
  fc.constant({ kind: 'refuse' as const }),
  fc.record({
    kind: fc.constant('confirm' as const),
    count: fc.integer({ min: 0, max: 1500 }),
    refuseEach: fc.integer({ min: 2, max: 50 }),
  }),
  fc.record({ kind: fc.constant('expire' as const), ms: fc.integer({ min: 0, max: 6 }) }),
);

interface Modelled {
  readonly tag: number;
  /** 0: refused on the spot. */
  readonly number: number;
  readonly arrived: number;
  told: boolean;
}

/** The same with a plain list. */
class Model {
  readonly told: [number, unknown][] = [];
  list: Modelled[] = [];
  lastNumber = 0;
  answered = 0;

  readonly refused = new Set<number>();

  #tell(each: Modelled, outcome: unknown): void {
    if (!each.told) this.told.push([each.tag, outcome]);
    each.told = true;
  }

  confirm(upTo: number, refused: readonly number[]): void {
    this.answered = Math.max(this.answered, upTo);
    for (const number of refused) this.refused.add(number);
    for (let head = this.list[0]; head !== undefined; head = this.list[0]) {
      if (head.number > this.answered) return;
      this.list.shift();
      const { number } = head;
      if (number === 0) this.#tell(head, 'no-queue');
      else this.#tell(head, this.refused.has(number) ? 'queue-full' : number);
    }
  }

  expire(before: number): void {
    for (const each of this.list) {
      if (each.told) continue;
      if (each.arrived > before) return;
      this.#tell(each, each.number === 0 ? 'no-queue' : 'timeout');
    }
  }
}

describe('the ring of waiting numbers', () => {
  it('does what a plain list does, through growth, wraps, refusals and timeouts', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const pending = new Pending();
        const witness = new Witness();
        const model = new Model();
        let tag = 0;
        for (const [now, each] of steps.entries()) {
          pending.now = now;
          const add = (number: number): void => {
            model.list.push({ tag, number, arrived: now, told: false });
          };
          if (each.kind === 'add') {
            for (let count = 0; count < each.count; count++, tag++) {
              pending.add(witness, tag, 10);
              add(++model.lastNumber);
            }
          } else if (each.kind === 'refuse') {
            pending.refuse(witness, tag, 'no-queue');
            add(0);
            tag++;
          } else if (each.kind === 'confirm') {
            const upTo = Math.min(model.answered + each.count, model.lastNumber);
            const refused: number[] = [];
            for (let number = model.answered + 1; number <= upTo; number++) {
              if (number % each.refuseEach === 0) refused.push(number);
            }
            const reason: RefusalReason = 'queue-full';
            const refusals = refused.map((number) => ({ number, reason }));
            expect(pending.confirm({ upTo, refusals })).toBe(true);
            model.confirm(upTo, refused);
          } else if (each.kind === 'expire') {
            pending.expire(now - each.ms);
            model.expire(now - each.ms);
          }
          expect(pending.size).toBe(model.list.length);
          expect(pending.answeredUpTo).toBe(model.answered);
          expect(pending.oldest).toBe(
            model.list.find((one) => !one.told)?.arrived ?? Number.POSITIVE_INFINITY,
          );
          expect(pending.bytes === 0).toBe(model.list.length === 0);
        }
        expect(witness.told).toEqual(model.told);
        pending.fail();
        expect(witness.told.map(([one]) => one)).toEqual(
          Array.from({ length: tag }, (_, one) => one),
        );
        expect([pending.size, pending.bytes]).toEqual([0, 0]);
      }),
      { numRuns: 150 },
    );
  });

  it('refuses the confirmation of a number that it never gave', () => {
    const pending = new Pending();
    pending.add(new Witness(), 1, 1);
    expect(pending.confirm({ upTo: 2, refusals: [] })).toBe(false);
    expect(pending.size).toBe(1);
  });
});
