/**
 * Silence in a fault schedule: a node is away, each shard has just got another leader, somebody
 * waits for what is there, and nothing else happens. A wake that was lost is hidden by the next
 * message wherever there is traffic; here there is none, and what does not come never comes.
 */

import { expect } from 'vitest';
import type { Random } from '../../raft/simulation/random.ts';
import type { QueueConsumer } from '../../src/broker/ports.ts';
import { nodeOf } from '../../src/cluster/server-id.ts';
import type { ClusterClients, Seat } from './cluster-clients.ts';
import type { ClusterLedger } from './cluster-ledger.ts';
import type { ClusterNode } from './cluster-node.ts';
import type { ClusterOperations } from './cluster-operations.ts';
import type { ClusterPower } from './cluster-power.ts';
import type { NodeCluster } from './node-cluster.ts';

const ROUNDS = 3;
/** Longer than any grace and any time-out, in steps. */
const STEPS = 600;
/** From one look to the next. */
const LOOK_STEPS = 20;
/** Of what did not come. */
const SHOWN = 5;

export interface ClusterSilenceOptions {
  readonly cluster: NodeCluster;
  readonly power: ClusterPower;
  readonly operations: ClusterOperations;
  readonly clients: ClusterClients;
  readonly ledger: ClusterLedger;
  readonly random: Random;
  /** Queues that are consumed, by the shard in which they lie. */
  readonly names: (shard: number) => readonly string[];
  /** Of the shard, by the names of their replicas. */
  readonly voters: (shard: number) => readonly string[];
  readonly until: (what: string, holds: () => boolean) => Promise<void>;
  readonly saw: (what: 'silence') => void;
}

export class ClusterSilence {
  readonly #options: ClusterSilenceOptions;
  readonly #consumers: QueueConsumer[] = [];

  constructor(options: ClusterSilenceOptions) {
    this.#options = options;
  }

  /** When all is well; afterwards it is again. Nothing, where each node is needed. */
  async keep(): Promise<void> {
    const { cluster, power, operations, random, saw } = this.#options;
    const spare = operations.nodes.filter((node) => operations.isSpare(node));
    if (spare.length === 0) return;
    const away = random.pick(spare);
    const { before } = cluster;
    cluster.before = () => undefined;
    power.cut(away.id);
    saw('silence');
    for (let left = ROUNDS; left > 0; left -= 1) await this.#round(away);
    power.start(away.id);
    cluster.before = before;
  }

  async #round(away: ClusterNode): Promise<void> {
    const { cluster, clients, ledger, random, until } = this.#options;
    await until('each shard is led', () =>
      cluster.shards.every((shard) => cluster.leaderOf(shard) !== undefined),
    );
    await until('there is a client', () => clients.seats.length > 0);
    const seat = random.pick(clients.seats);
    for (const shard of cluster.shards) {
      for (const name of this.#options.names(shard)) clients.publish(seat, name, 1);
    }
    await until('every publish is answered', () => ledger.open === 0);
    for (const shard of cluster.shards) await this.#handOver(shard, away, seat);
    await this.#wait();
    for (const consumer of this.#consumers.splice(0)) consumer.close('returned');
  }

  /** To whoever can lead it; who consumes there comes as soon as it does. */
  async #handOver(shard: number, away: ClusterNode, seat: Seat): Promise<void> {
    const { cluster, clients, operations, random, until, voters, names } = this.#options;
    const others = voters(shard).filter((id) => {
      const node = cluster.node(nodeOf(id));
      return node !== away && !node.leads(shard);
    });
    if (others.length > 0) {
      const id = random.pick(others);
      await cluster.done(operations.do((changes) => changes.stepsOf(shard).transfer(id)));
      await until(`${id} leads shard ${shard}`, () => cluster.node(nodeOf(id)).leads(shard));
    }
    for (const name of names(shard)) this.#consumers.push(clients.drain(seat, name));
  }

  async #wait(): Promise<void> {
    const { cluster } = this.#options;
    for (let steps = 0; steps < STEPS && this.#missing.length > 0; steps += LOOK_STEPS) {
      for (let left = LOOK_STEPS; left > 0; left -= 1) await cluster.step();
    }
    const missing = this.#missing;
    expect(missing.slice(0, SHOWN), `${missing.length} did not come in silence`).toEqual([]);
  }

  get #missing(): readonly string[] {
    const { cluster, ledger, names } = this.#options;
    const queues = cluster.shards.flatMap((shard) => names(shard));
    return ledger.missing.filter((line) => queues.includes(line.split(' ')[0] ?? ''));
  }
}
