/**
 * D1: a broker process under load is killed with SIGKILL at random moments, again and again on the
 * same data; in the end every acknowledged message is there, in order, whole, and once in a single
 * drain.
 *
 * The moment of each kill is random and decides nothing: only what was acknowledged before it
 * counts.
 */

import { afterEach, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { killUnderLoad } from '../support/kill-round.ts';
import { drain, Ledger } from '../support/ledger.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 32);

let broker: BrokerProcess | undefined;
afterEach(async () => {
  await broker?.remove();
  broker = undefined;
});

test(
  `D1: after ${KILLS} SIGKILLs under load every acknowledged message is there, in order and whole`,
  { timeout: 300_000 },
  async () => {
    broker = await BrokerProcess.prepare('kill-loop', {
      args: ['--set', 'storage.segment_size=1MiB', '--set', 'log.level=error'],
    });
    const ledger = new Ledger();
    for (let number = 0; number < KILLS; number += 1) {
      await broker.start();
      const killAt = 20 + Math.floor(Math.random() * 400);
      // In a third of the rounds nobody consumes, so that a backlog is left for the next ones.
      const filter = number % 3 === 0 ? {} : { filter: '$queue/orders' };
      await killUnderLoad(broker, { number, ledger, killAt, ...filter });
    }
    await drain(broker, ledger);
    expect(ledger.missing()).toEqual([]);
    expect(await broker.stop()).toBe(0);
  },
);
