/**
 * `npm run bench [-- --suite NAME] [--rounds N] [--minutes M] [--smoke] [--alone [--port P]]`:
 * every figure side by side with its peer in one run, on the real disk with syncs on, as medians
 * and ratios. Prints the table and leaves it in `bench/results/`. Nothing timed decides a test: a
 * missed target is told, and the exit status stays 0.
 *
 * `--alone` runs seven suites of MQTT without a peer, with our broker at the port that was said.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './peers/peer.ts';
import { table, type Finding } from './report.ts';
import { acknowledgedSuite } from './suites/acknowledged.ts';
import { appendSuite } from './suites/append.ts';
import { asleepSuite } from './suites/asleep.ts';
import { backlogSuite } from './suites/backlog.ts';
import { clusterCatchUpSuite } from './suites/cluster-catch-up.ts';
import { clusterEnduranceSuite } from './suites/cluster-endurance.ts';
import { clusterGapsSuite } from './suites/cluster-gaps.ts';
import { clusterLatencySuite } from './suites/cluster-latency.ts';
import { clusterQueuesSuite } from './suites/cluster-queues.ts';
import { clusterPublishSuite } from './suites/cluster-publish.ts';
import { coldStreamSuite } from './suites/cold-stream.ts';
import { connectionsSuite } from './suites/connections.ts';
import { consumeSuite } from './suites/consume.ts';
import { groupsSuite } from './suites/groups.ts';
import { hostileSuite } from './suites/hostile.ts';
import { idleQueuesSuite } from './suites/idle-queues.ts';
import { latencySuite } from './suites/latency.ts';
import { openSuite } from './suites/open.ts';
import { pendingSuite } from './suites/pending.ts';
import { publishSuite } from './suites/publish.ts';
import { qos0Suite } from './suites/qos0.ts';
import { queuesSuite } from './suites/queues.ts';
import { sleepersSuite } from './suites/sleepers.ts';
import { spillSuite } from './suites/spill.ts';
import { stormSuite } from './suites/storm.ts';
import { subscriptionsSuite } from './suites/subscriptions.ts';
import type { Suite } from './suites/suite.ts';

const SUITES: Readonly<Record<string, Suite>> = {
  append: appendSuite,
  open: openSuite,
  publish: publishSuite,
  queues: queuesSuite,
  consume: consumeSuite,
  qos0: qos0Suite,
  acknowledged: acknowledgedSuite,
  latency: latencySuite,
  connections: connectionsSuite,
  subscriptions: subscriptionsSuite,
  storm: stormSuite,
  'mqtt-hostile': hostileSuite,
  'mqtt-sleepers': sleepersSuite,
  'mqtt-asleep': asleepSuite,
  groups: groupsSuite,
  pending: pendingSuite,
  'idle-queues': idleQueuesSuite,
  backlog: backlogSuite,
  spill: spillSuite,
  'cold-stream': coldStreamSuite,
  'cluster-publish': clusterPublishSuite,
  'cluster-latency': clusterLatencySuite,
  'cluster-queues': clusterQueuesSuite,
  'cluster-gaps': clusterGapsSuite,
  'cluster-catch-up': clusterCatchUpSuite,
  'cluster-endurance': clusterEnduranceSuite,
};

/** Those that run without a peer too, and at another port. */
const ALONE = [
  'qos0',
  'acknowledged',
  'latency',
  'connections',
  'subscriptions',
  'storm',
  'mqtt-hostile',
];
const PORT = 18830;

const { values } = parseArgs({
  options: {
    suite: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '5' },
    minutes: { type: 'string', default: '30' },
    smoke: { type: 'boolean', default: false },
    alone: { type: 'boolean', default: false },
    port: { type: 'string' },
  },
});

const { alone, smoke } = values;
const known = alone ? ALONE : Object.keys(SUITES);
const names = values.suite ?? known;
const unknown = names.filter((name) => !known.includes(name));
const rounds = Number(values.rounds);
const minutes = Number(values.minutes);
const port = Number(values.port ?? PORT);
const isPort = Number.isSafeInteger(port) && port >= 1 && port <= 65_000;
const isSound =
  Number.isSafeInteger(rounds) && rounds >= 1 && rounds <= 100 && minutes > 0 && minutes <= 1440;
if (unknown.length > 0 || !isSound || !isPort || (values.port !== undefined && !alone)) {
  process.stderr.write(
    `--suite is one of ${known.join(', ')}; --rounds is 1 to 100; --minutes is above 0, to 1440; ` +
      '--port is 1 to 65000, with --alone\n',
  );
  process.exit(2);
}

const results = join(ROOT, 'bench', 'results');
await mkdir(results, { recursive: true });
const processor = cpus()[0]?.model ?? 'unknown processor';
const memory = Math.round(totalmem() / 2 ** 30);
const hardware = `${cpus().length} x ${processor}, ${memory} GiB`;
const machine = `${hardware}, Linux ${release()}, Node.js ${process.version}`;
process.stdout.write(`${machine}\n`);

const findings: Finding[] = [];
for (const name of names) {
  const suite = SUITES[name];
  if (suite === undefined) continue;
  process.stdout.write(`\n== ${name}\n`);
  const progress = (line: string): void => {
    process.stdout.write(`   ${line}\n`);
  };
  findings.push(...(await suite({ rounds, minutes, smoke, alone, port, progress })));
}
const text = table(findings);
process.stdout.write(`\n${text}\n`);
const stamp = new Date().toISOString().replaceAll(':', '-');
const note = smoke ? 'smoke run: these figures mean nothing\n\n' : '';
await writeFile(join(results, `${stamp}.md`), `${machine}\n\n${note}${text}\n`);
process.exit(0);
