/**
 * The workload `queue`: publishers at QoS 1 with unique values, consumers of two groups that settle
 * by hand, and in the end, after the final heal, a full drain.
 *
 *     load   publishers and consumers, while the nemesis does its work
 *     heal   every node must serve again; a publish through each of them is acknowledged
 *     drain  no publishers any more; until every acknowledged message came to every group, and
 *            nothing has come for longer than the visibility timeout
 */

import { setMaxListeners } from 'node:events';
import type { Cluster } from '../cluster/cluster.ts';
import { QUEUE, SOLE_GROUP, TEAM_GROUP } from '../cluster/configuration.ts';
import { Processes } from '../history/processes.ts';
import type { Recorder } from '../history/recorder.ts';
import type { Random } from '../random.ts';
import { sleep } from '../sleep.ts';
import { Backlog } from './backlog.ts';
import { Connection } from './connection.ts';
import { Consumer } from './consumer.ts';
import type { ClientParts } from './parts.ts';
import { encodePayload } from './payload.ts';
import { Publisher } from './publisher.ts';

const PUBLISHERS_PER_NODE = 2;
const PAYLOAD_BYTES = 256;
const RECOVER_MAX_MS = 90_000;
const DRAIN_MAX_MS = 180_000;
/** Above the visibility timeout of the queue, 10 s: what a lost consumer held comes before. */
const QUIET_MS = 11_000;
const LOOK_MS = 200;
const GROUPS = [SOLE_GROUP, TEAM_GROUP] as const;

export interface QueueOptions {
  readonly cluster: Cluster;
  readonly recorder: Recorder;
  readonly random: Random;
  /** Messages a second, of all publishers together. */
  readonly rate: number;
}

export class QueueWorkload {
  readonly #options: QueueOptions;
  readonly #processes = new Processes();
  readonly #publishing = new AbortController();
  readonly #consuming = new AbortController();
  readonly #backlog = new Backlog(GROUPS);
  #publishers: Promise<unknown> = Promise.resolve();
  #consumers: Promise<unknown> = Promise.resolve();

  constructor(options: QueueOptions) {
    this.#options = options;
    // Every client waits for the same two signals, most of the time.
    setMaxListeners(0, this.#publishing.signal, this.#consuming.signal);
  }

  start(): void {
    const { cluster, rate } = this.#options;
    this.#phase('load');
    const publishers = cluster.ids.flatMap((node) =>
      Array.from({ length: PUBLISHERS_PER_NODE }, (_, at) => ({ node, name: `p-${node}-${at}` })),
    );
    const perSecond = rate / publishers.length;
    this.#publishers = Promise.all(
      publishers.map(({ node, name }) => {
        const acknowledged = (value: string): void => this.#backlog.acknowledged(value);
        const options = { name, node, perSecond, payloadBytes: PAYLOAD_BYTES, acknowledged };
        return new Publisher(this.#parts(this.#publishing.signal), options).run();
      }),
    );
    const sole = { name: `c-${SOLE_GROUP}`, group: SOLE_GROUP, node: cluster.ids[0] ?? '' };
    const team = cluster.ids.map((node) => ({ name: `c-${node}`, group: TEAM_GROUP, node }));
    // A team of two at least, also on one node.
    if (team.length === 1) team.push({ ...sole, name: 'c-second', group: TEAM_GROUP });
    this.#consumers = Promise.all(
      [sole, ...team].map((about) => {
        const delivered = (group: string, value: string): void =>
          this.#backlog.delivered(group, value);
        const options = { ...about, delivered };
        return new Consumer(this.#parts(this.#consuming.signal), options).run();
      }),
    );
  }

  /** After the final heal. Whatever happens, `end` is written. */
  async finish(): Promise<void> {
    this.#phase('heal');
    await Promise.all(this.#options.cluster.ids.map((node) => this.#recovers(node)));
    this.#publishing.abort();
    await this.#publishers;
    this.#phase('drain');
    await this.#drain();
    await this.stop();
    this.#phase('end');
  }

  async stop(): Promise<void> {
    this.#publishing.abort();
    this.#consuming.abort();
    await Promise.all([this.#publishers, this.#consumers]);
  }

  /** Acknowledged, and not delivered to the group that is furthest behind. */
  get behind(): number {
    return Math.max(...GROUPS.map((group) => this.#backlog.missing(group)));
  }

  #parts(stop: AbortSignal): ClientParts {
    const { cluster, recorder, random } = this.#options;
    return { cluster, recorder, random, processes: this.#processes, stop };
  }

  #phase(value: 'load' | 'heal' | 'drain' | 'end'): void {
    this.#options.recorder.add({ process: 'harness', f: 'phase', type: 'info', value });
  }

  /** A publish through this node is acknowledged, in time. */
  async #recovers(node: string): Promise<void> {
    const deadline = performance.now() + RECOVER_MAX_MS;
    let type: 'ok' | 'fail' = 'fail';
    for (let probe = 0; type === 'fail' && performance.now() < deadline; probe += 1) {
      if (probe > 0) await sleep(LOOK_MS);
      type = (await this.#probe(node, `probe-${node}.${probe}/0`)) ? 'ok' : 'fail';
    }
    this.#options.recorder.add({ process: 'harness', f: 'recovered', type, value: node });
  }

  async #probe(node: string, value: string): Promise<boolean> {
    const { cluster, recorder } = this.#options;
    const { mqtt } = cluster.node(node).addresses;
    const client = value.slice(0, value.indexOf('/'));
    const connection = await Connection.open(node, mqtt, client).catch(() => undefined);
    if (connection === undefined) return false;
    const process = this.#processes.take();
    const about = { f: 'enqueue', process, node, value } as const;
    recorder.add({ ...about, type: 'invoke' });
    const payload = encodePayload(value, PAYLOAD_BYTES);
    const answer = await connection.publish(`$queue/${QUEUE}`, payload);
    recorder.add({ ...about, ...answer });
    if (answer.type === 'ok') this.#backlog.acknowledged(value);
    if (answer.type !== 'info') this.#processes.giveBack(process);
    await connection.leave();
    return answer.type === 'ok';
  }

  async #drain(): Promise<void> {
    const deadline = performance.now() + DRAIN_MAX_MS;
    const isDone = (): boolean => this.#backlog.isEmpty && this.#backlog.quietMs > QUIET_MS;
    while (!isDone() && performance.now() < deadline) await sleep(LOOK_MS);
    const about = { process: 'harness', f: 'drained' } as const;
    const quiet = this.#backlog.quietMs > QUIET_MS;
    const done = GROUPS.filter((group) => quiet && this.#backlog.missing(group) === 0);
    const left = GROUPS.filter((group) => !done.includes(group));
    const { recorder } = this.#options;
    if (done.length > 0) recorder.add({ ...about, type: 'ok', value: done });
    if (left.length > 0) recorder.add({ ...about, type: 'fail', value: left });
  }
}
