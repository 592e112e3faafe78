/**
 * D1, D11 with spills and compactions under way: a broker with a tiny window is killed with SIGKILL
 * at random moments. One group consumes, one stands still, so that payloads move from the log into
 * runs, and runs into other runs. In the end both groups have every acknowledged message, in
 * order and whole, and no file is left over.
 */

import { readdir } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import type { BrokerProcess } from '../support/broker-process.ts';
import { killUnderLoad } from '../support/kill-round.ts';
import { drain, Ledger } from '../support/ledger.ts';
import { brokerWith } from '../support/queue-user.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 16);
const BUSY = '$share/busy/$queue/orders';
const STILL = '$share/still/$queue/orders';

let broker: BrokerProcess | undefined;
afterEach(async () => {
  await broker?.remove();
  broker = undefined;
});

test(
  `D11: after ${KILLS} SIGKILLs with spills under way both groups have everything`,
  { timeout: 300_000 },
  async () => {
    broker = await brokerWith(
      'kill-loop-runs',
      [{ name: 'orders', groups: [{ name: 'busy' }, { name: 'still' }] }],
      {
        storage: { segment_size: '1MiB', window: '2MiB', window_messages: 2000 },
        log: { level: 'error' },
      },
    );
    const ledger = new Ledger();
    for (let number = 0; number < KILLS; number += 1) {
      if (number > 0) await broker.start();
      const killAt = 200 + Math.floor(Math.random() * 4000);
      await killUnderLoad(broker, { number, ledger, killAt, filter: BUSY });
    }
    await drain(broker, ledger, BUSY);
    expect(ledger.missing()).toEqual([]);
    const still = new Ledger();
    for (const [name, sequences] of ledger.acknowledged) still.acknowledged.set(name, sequences);
    await drain(broker, still, STILL);
    expect(still.missing()).toEqual([]);
    expect(await broker.stop()).toBe(0);
    const files = await readdir(broker.dataDirectory, { recursive: true });
    expect(files.filter((file) => file.endsWith('.run.new'))).toEqual([]);
  },
);
