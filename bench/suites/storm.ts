/**
 * A reconnect storm: 10,000 clients with a subscription each, whose broker is killed and started
 * again, with clean sessions, and with sessions that are kept and must all be present: how long
 * until the last of them is back, and how many were turned away, beside Mosquitto. The time counts
 * from the first connection that is accepted again.
 */

import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { runStorm } from '../load/load.ts';
import type { StormResult } from '../load/storm.ts';
import { startFluxmq, startMosquitto } from '../peers/peers.ts';
import { scratchDirectory, type Peer } from '../peers/peer.ts';
import { type Finding, median } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const CLIENTS = 10_000;
const MOST_SECONDS = 6;

async function storm(
  start: () => Promise<Peer>,
  options: SuiteOptions,
  kept = false,
): Promise<StormResult> {
  const clients = scaled(CLIENTS, options);
  let peer = await start();
  try {
    let restarted: Promise<void> | undefined;
    const result = await runStorm({ port: peer.port, clients, kept }, () => {
      restarted = peer.kill().then(async () => {
        peer = await start();
      });
    });
    await restarted;
    const cpu = await peer.cpuSeconds();
    options.progress(
      `${peer.name}: ${clients} back in ${result.allBackSeconds.toFixed(2)} s, half of them in ` +
        `${result.halfBackSeconds.toFixed(2)} s, ${result.refused} refused, ` +
        `${cpu.toFixed(1)} CPU-s with its start (clients ${result.cpuSeconds.toFixed(1)})`,
    );
    return result;
  } finally {
    await peer.stop();
  }
}

export const stormSuite: Suite = async (options) => {
  const ours: StormResult[] = [];
  const kept: StormResult[] = [];
  const theirs: StormResult[] = [];
  const directory = await scratchDirectory('storm');
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      const data = ['--data-dir', join(directory, `data-${round}`)];
      const settings = ['--set', 'server.mqtt.tcp.per_address.max_connections=0'];
      ours.push(await storm(() => startFluxmq(options.port, [...data, ...settings]), options));
      const other = ['--data-dir', join(directory, `kept-${round}`), ...settings];
      kept.push(await storm(() => startFluxmq(options.port, other), options, true));
      if (options.alone) continue;
      theirs.push(await storm(() => startMosquitto(18840), options));
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const seconds = (all: readonly StormResult[]): number =>
    median(all.map((each) => each.allBackSeconds));
  const refused = (all: readonly StormResult[]): number =>
    all.reduce((sum, each) => sum + each.refused, 0);
  const row = (sessions: string, all: readonly StormResult[], peer: string): Finding => ({
    what: `${scaled(CLIENTS, options)} ${sessions} clients after a restart: all back`,
    ours: `${seconds(all).toFixed(2)} s, ${refused(all)} refused in ${all.length} rounds`,
    peer,
    ratio: seconds(all) / MOST_SECONDS,
    target: { at: 'most', ratio: 1 },
  });
  const most = `${MOST_SECONDS} s`;
  const beside = options.alone ? most : `${most} (Mosquitto ${seconds(theirs).toFixed(2)} s)`;
  return [row('clean', ours, beside), row('persistent', kept, most)];
};
