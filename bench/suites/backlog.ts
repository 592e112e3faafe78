/**
 * A backlog that nobody reads: its memory above an empty broker, and what was written for each byte
 * of payload; beside it traffic that is settled inside the window.
 */

import { runLoad } from '../load/load.ts';
import { startFluxmq } from '../peers/peers.ts';
import type { Peer } from '../peers/peer.ts';
import type { Finding } from '../report.ts';
import { written } from '../peers/metrics.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const MIB = 1024 * 1024;
const PORT = 18830;
const OPS_PORT = 18831;
const SETTLED_AT_ONCE = 100_000;
/** What one run of the load generator may publish within its deadline. */
const PART = 5_000_000;

function start(): Promise<Peer> {
  return startFluxmq(PORT, ['--set', `server.ops.addr=127.0.0.1:${OPS_PORT}`]);
}

async function publish(messages: number, payloadBytes: number): Promise<void> {
  await runLoad({
    kind: 'mqtt-publish',
    run: {
      port: PORT,
      connections: 64,
      window: 20,
      payloadBytes,
      messages,
      topics: ['$queue/orders'],
      qos: 1,
    },
  });
}

/** Resident memory once it has stopped to fall: spills and collections have ended. */
async function rested(peer: Peer): Promise<number> {
  let lowest = await peer.residentBytes();
  for (let quiet = 0; quiet < 5; quiet += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 2000);
    });
    const now = await peer.residentBytes();
    if (now < lowest) quiet = 0;
    lowest = Math.min(lowest, now);
  }
  return lowest;
}

async function memory(options: SuiteOptions): Promise<Finding> {
  const messages = scaled(10_000_000, options);
  const peer = await start();
  try {
    // The same connections and buffers as later, without a backlog: what an empty broker takes.
    await publish(6_400, 256);
    const empty = await rested(peer);
    for (let left = messages; left > 0; left -= PART) await publish(Math.min(left, PART), 256);
    const full = await rested(peer);
    const above = (full - empty) / MIB;
    const told = `${Math.round(above)} MiB above ${Math.round(empty / MIB)} MiB`;
    options.progress(`backlog of ${messages}: ${told}`);
    return {
      what: `memory of a backlog of ${messages.toLocaleString('en-US')} messages of 256 B`,
      ours: told,
      peer: '64 MiB',
      ratio: above / 64,
      target: { at: 'most', ratio: 1 },
    };
  } finally {
    await peer.stop();
  }
}

async function amplification(options: SuiteOptions, settled: boolean): Promise<Finding> {
  const messages = scaled(4_000_000, options);
  const peer = await start();
  try {
    const before = await written(OPS_PORT);
    for (let done = 0; done < messages; done += SETTLED_AT_ONCE) {
      const part = Math.min(SETTLED_AT_ONCE, messages - done);
      await publish(part, 1024);
      if (!settled) continue;
      const count = Math.floor(part / 64) * 64;
      const run = { port: PORT, consumers: 8, messages: count, filter: '$queue/orders' };
      await runLoad({ kind: 'mqtt-consume', run });
    }
    await rested(peer);
    const after = await written(OPS_PORT);
    const payload = Math.floor(messages / 64) * 64 * 1024;
    const log = (after.log - before.log) / payload;
    const runs = (after.runs - before.runs) / payload;
    const records = (after.records - before.records) / payload;
    const zeros = (after.prewrite - before.prewrite) / payload;
    const told =
      `log ${log.toFixed(2)}, runs ${runs.toFixed(2)} ` +
      `(records ${records.toFixed(3)}, prewriting ${zeros.toFixed(2)} apart)`;
    const what = settled ? 'settled inside the window' : 'a backlog that is never read';
    options.progress(`${what}: ${told}`);
    return {
      what: `bytes written for each byte of payload, 1 KiB, ${what}`,
      ours: told,
      peer: 'payload 1.00',
      ratio: log + runs,
      target: { at: 'most', ratio: settled ? 1.15 : 2.3 },
    };
  } finally {
    await peer.stop();
  }
}

export const backlogSuite: Suite = async (options) => [
  await memory(options),
  await amplification(options, true),
  await amplification(options, false),
];
