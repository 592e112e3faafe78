/**
 * What a claim, an acknowledgement and a hand-back cost with 1,000,000 messages pending, against
 * 1,000: the dispatch policy of the broker by itself, without sockets and disk.
 */

import { Claims, DispatchPolicy } from '../../src/machine/dispatch-policy.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { median } from '../report.ts';
import { scaled, type Suite } from './suite.ts';

const OPERATIONS = 200_000;

/** Nanoseconds for one claim, one completion and one hand-back. */
function cycle(pending: number): number {
  const next = pending + OPERATIONS * 2;
  const policy = new DispatchPolicy({
    term: 1,
    seenBelow: 0,
    isStream: false,
    firstDeliveryNumber: 1,
    start: {
      floor: 0 as Offset,
      nextOffset: next as Offset,
      limits: DEFAULT_LIMITS,
      settled: new Map(),
      requeued: [],
      priorities: undefined,
    },
  });
  const claims = new Claims();
  policy.attach(1, next);
  policy.claim(1, pending, claims);
  let floor = 0;
  const began = process.hrtime.bigint();
  for (let i = 0; i < OPERATIONS; i += 1) {
    claims.clear();
    policy.claim(2, 1, claims);
    const offset = claims.offset(0);
    policy.settle(offset, 1, claims.deliveryNumber(0), 'requeue');
    policy.requeued(offset, 1, 0);
    // The oldest is completed, so that as many stay pending.
    policy.settle(floor as Offset, 1, 0, 'complete');
    policy.settled(floor as Offset, (floor + 1) as Offset);
    floor += 1;
  }
  return Number(process.hrtime.bigint() - began) / OPERATIONS;
}

export const pendingSuite: Suite = (options) => {
  const many = scaled(1_000_000, options);
  const ours: number[] = [];
  const few: number[] = [];
  cycle(1000);
  for (let round = 0; round < Math.max(options.rounds, 3); round += 1) {
    few.push(cycle(1000));
    ours.push(cycle(many));
    options.progress(`${many} pending ${ours.at(-1)} ns, 1,000 pending ${few.at(-1)} ns`);
  }
  return Promise.resolve([
    {
      what: 'claim, ack and nack with 1,000,000 pending',
      ours: `${Math.round(median(ours))} ns`,
      peer: `1,000 pending ${Math.round(median(few))} ns`,
      ratio: median(ours.map((value, i) => value / (few[i] ?? 0))),
      target: { at: 'most', ratio: 1.3 },
    },
  ]);
};
