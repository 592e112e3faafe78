/**
 * The workload `queue`: in each shard a queue with publishers at QoS 1 and unique values, and
 * consumers of two groups that settle by hand; one of the groups rejects some, and what it rejects
 * is consumed from a queue of another shard. In the end, after the final heal, a full drain.
 *
 *     load   publishers and consumers, while the nemesis does its work
 *     heal   every node must serve again; a publish through each of them to each queue is
 *            acknowledged
 *     drain  no publishers any more; until every acknowledged message came to every group, and
 *            every rejected one to the dead letters, and nothing has come for longer than the
 *            visibility timeout
 */

import { setMaxListeners } from 'node:events';
import type { Cluster } from '../cluster/cluster.ts';
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
import { type RunQueue, SOLE_GROUP, TEAM_GROUP } from './queues.ts';

const PUBLISHERS_PER_NODE = 2;
const PAYLOAD_BYTES = 256;
const RECOVER_MAX_MS = 90_000;
const DRAIN_MAX_MS = 180_000;
/** Above the visibility timeout of the queue, 10 s: what a lost consumer held comes before. */
const QUIET_MS = 11_000;
const LOOK_MS = 200;

export interface QueueOptions {
  readonly cluster: Cluster;
  readonly recorder: Recorder;
  readonly random: Random;
  readonly queues: readonly RunQueue[];
  /** Messages a second, of all publishers together. */
  readonly rate: number;
}

export class QueueWorkload {
  readonly #options: QueueOptions;
  readonly #processes = new Processes();
  readonly #publishing = new AbortController();
  readonly #consuming = new AbortController();
  readonly #backlog: Backlog;
  /** A rejection may be acknowledged twice, the message is one. */
  readonly #rejected = new Set<string>();
  #publishers: Promise<unknown> = Promise.resolve();
  #consumers: Promise<unknown> = Promise.resolve();

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#backlog = new Backlog(options.queues);
    // Every client waits for the same two signals, most of the time.
    setMaxListeners(0, this.#publishing.signal, this.#consuming.signal);
  }

  start(): void {
    const { cluster, queues, rate } = this.#options;
    this.#phase('load');
    const sentTo = this.#sentTo();
    const perNode = Math.max(PUBLISHERS_PER_NODE, sentTo.length);
    const perSecond = rate / (perNode * cluster.ids.length);
    const publishers = cluster.ids.flatMap((node) =>
      Array.from({ length: perNode }, (_, at) => {
        const queue = sentTo[at % sentTo.length]?.name ?? '';
        const acknowledged = (value: string): void => this.#backlog.comes(queue, value);
        const about = { name: `p-${node}-${at}`, queue, node, perSecond };
        const options = { ...about, payloadBytes: PAYLOAD_BYTES, acknowledged };
        return new Publisher(this.#parts(this.#publishing.signal), options).run();
      }),
    );
    this.#publishers = Promise.all(publishers);
    this.#consumers = Promise.all(queues.flatMap((queue) => this.#consume(queue)));
  }

  #consume({ name: queue, shard, groups, dead }: RunQueue): Promise<void>[] {
    const { ids } = this.#options.cluster;
    const own = dead === undefined ? `c-dead-${shard}` : `c-${shard}`;
    const first = ids[shard % ids.length] ?? '';
    const sole = { name: `${own}-${SOLE_GROUP}`, group: SOLE_GROUP, node: first };
    const team = ids.map((node) => ({ name: `${own}-${node}`, group: TEAM_GROUP, node }));
    // A team of two at least, also on one node.
    if (team.length === 1) team.push({ ...sole, name: `${own}-second`, group: TEAM_GROUP });
    const all = [sole, ...team].filter(({ group }) => groups.includes(group));
    return all.map((about) => {
      const delivered = (value: string): void => this.#backlog.delivered(queue, about.group, value);
      const rejected = (value: string): void => {
        if (dead === undefined || this.#rejected.has(value)) return;
        this.#rejected.add(value);
        this.#backlog.comes(dead, value);
      };
      const rejects = about.group === TEAM_GROUP ? dead : undefined;
      const options = { ...about, queue, delivered, dead: rejects, rejected };
      return new Consumer(this.#parts(this.#consuming.signal), options).run();
    });
  }

  /** After the final heal. Whatever happens, `end` is written. */
  async finish(): Promise<void> {
    this.#phase('heal');
    const { ids } = this.#options.cluster;
    const probes = this.#sentTo().flatMap(({ name }) => ids.map((node) => ({ node, name })));
    await Promise.all(probes.map(({ node, name }) => this.#recovers(node, name)));
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

  /** To come, and not delivered to the group that is furthest behind. */
  get behind(): number {
    return this.#backlog.behind;
  }

  /** The others get dead letters alone. */
  #sentTo(): readonly RunQueue[] {
    return this.#options.queues.filter(({ dead }) => dead !== undefined);
  }

  #parts(stop: AbortSignal): ClientParts {
    const { cluster, recorder, random } = this.#options;
    return { cluster, recorder, random, processes: this.#processes, stop };
  }

  #phase(value: 'load' | 'heal' | 'drain' | 'end'): void {
    this.#options.recorder.add({ process: 'harness', f: 'phase', type: 'info', value });
  }

  /** A publish through this node to this queue is acknowledged, in time. */
  async #recovers(node: string, queue: string): Promise<void> {
    const deadline = performance.now() + RECOVER_MAX_MS;
    let type: 'ok' | 'fail' = 'fail';
    for (let probe = 0; type === 'fail' && performance.now() < deadline; probe += 1) {
      if (probe > 0) await sleep(LOOK_MS);
      type = (await this.#probe(node, queue, probe)) ? 'ok' : 'fail';
    }
    this.#options.recorder.add({ process: 'harness', f: 'recovered', type, queue, value: node });
  }

  async #probe(node: string, queue: string, nth: number): Promise<boolean> {
    const value = `probe-${node}-${queue}.${nth}/0`;
    const { cluster, recorder } = this.#options;
    const { mqtt } = cluster.node(node).addresses;
    const client = value.slice(0, value.indexOf('/'));
    const connection = await Connection.open(node, mqtt, client).catch(() => undefined);
    if (connection === undefined) return false;
    const process = this.#processes.take();
    const about = { f: 'enqueue', process, node, queue, value } as const;
    recorder.add({ ...about, type: 'invoke' });
    const payload = encodePayload(value, PAYLOAD_BYTES);
    const answer = await connection.publish(`$queue/${queue}`, payload);
    recorder.add({ ...about, ...answer });
    if (answer.type === 'ok') this.#backlog.comes(queue, value);
    if (answer.type !== 'info') this.#processes.giveBack(process);
    await connection.leave();
    return answer.type === 'ok';
  }

  async #drain(): Promise<void> {
    const deadline = performance.now() + DRAIN_MAX_MS;
    const isDone = (): boolean => this.behind === 0 && this.#backlog.quietMs > QUIET_MS;
    while (!isDone() && performance.now() < deadline) await sleep(LOOK_MS);
    const quiet = this.#backlog.quietMs > QUIET_MS;
    const { recorder, queues } = this.#options;
    for (const { name: queue, groups } of queues) {
      const about = { process: 'harness', f: 'drained', queue } as const;
      const isDrained = (group: string): boolean =>
        quiet && this.#backlog.missing(queue, group) === 0;
      const done = groups.filter((group) => isDrained(group));
      const left = groups.filter((group) => !done.includes(group));
      if (done.length > 0) recorder.add({ ...about, type: 'ok', value: done });
      if (left.length > 0) recorder.add({ ...about, type: 'fail', value: left });
    }
  }
}
