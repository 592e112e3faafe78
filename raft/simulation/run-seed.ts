/**
 * One seed from its first event to its verdict: safety (faults on) -> heal -> converge -> serve ->
 * audit of every replica by itself.
 *
 * The result depends on the seed and the changes to its plan alone; the hash of the trace says so.
 */

import { Client } from './clients.ts';
import type { Told } from './clients.ts';
import { asViolation, Cluster, ELECTION_US } from './cluster.ts';
import type { Counters } from './counters.ts';
import { FaultInjector } from './fault-injector.ts';
import { ledgers } from './ledger.ts';
import { Operator } from './operator.ts';
import { cutInPart } from './partial-cut.ts';
import { withoutRealTime } from './real-time.ts';
import type { MachineKind } from './state-machine.ts';
import { changedPlan } from './swarm.ts';
import type { PlanChanges } from './swarm.ts';
import { violation } from './violation.ts';
import type { Violation } from './violation.ts';

/** Elections after healing until one leads, everything is applied, and the clients are done. */
const CONVERGE_US = 60 * ELECTION_US;
/** While a partition stays that leaves a majority whole. */
const PARTIAL_US = 20 * ELECTION_US;
const SERVE_US = 10 * ELECTION_US;
/** A log that is long for its disk is read to its end before a replica is up. */
const OPEN_US = 10 * ELECTION_US;
const SERVED_WRITES = 5;

export interface SeedResult {
  readonly seed: number;
  readonly violation: Violation | undefined;
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly counters: Counters;
  readonly simulatedUs: number;
  readonly events: number;
}

/** `machines`: what the entries are applied to. */
export async function runSeed(
  seed: number,
  changes: PlanChanges = {},
  machines: MachineKind = ledgers,
): Promise<SeedResult> {
  const cluster = new Cluster(seed, {
    machines,
    change: (plan) => changedPlan(plan, changes),
  });
  const found = await withoutRealTime(() => heard(cluster)).then(
    () => undefined,
    (error: unknown) => asViolation(error),
  );
  const { counters, kernel, checks } = cluster;
  if (cluster.plan.tiny) counters.add('seeds with tiny limits');
  counters.add('elections', checks.elections);
  counters.add('committed entries', checks.committed);
  return {
    seed,
    violation: found,
    traceHash: kernel.traceHash,
    trace: kernel.trace,
    counters,
    simulatedUs: kernel.nowUs,
    events: kernel.events,
  };
}

/** What nobody catches, in a promise or a tick, is a violation and not the end of the process. */
async function heard(cluster: Cluster): Promise<void> {
  const hear = (error: unknown): void => cluster.violated(error);
  process.on('unhandledRejection', hear);
  process.on('uncaughtException', hear);
  try {
    await new SeedRun(cluster).run();
  } finally {
    process.off('unhandledRejection', hear);
    process.off('uncaughtException', hear);
  }
}

class SeedRun {
  readonly #cluster: Cluster;
  readonly #clients: Client[] = [];
  readonly #told: Told = { index: 0 };

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async run(): Promise<void> {
    const { kernel, plan } = this.#cluster;
    this.#cluster.start();
    for (let number = 1; number <= plan.clients; number += 1) this.#makeClient(`c${number}`);
    if (plan.calmStart) await this.#cluster.run(() => this.#hasBegun, CONVERGE_US);
    const operator = new Operator(this.#cluster);
    const injector = new FaultInjector(this.#cluster, operator);
    await this.#cluster.run(() => false, kernel.nowUs + plan.safetyUs);
    await this.#partial(injector, operator);
    kernel.note('heal');
    for (const client of this.#clients) client.stop();
    kernel.after(0, () => injector.heal());
    await kernel.runFor(0);
    await this.#converge(operator);
    await this.#serve();
    this.#histories();
    await this.#audit();
  }

  get #hasBegun(): boolean {
    return (this.#cluster.leader()?.view()?.committed ?? 0) > 0;
  }

  #makeClient(name: string): Client {
    const { kernel, plan, counters } = this.#cluster;
    const client = new Client({
      name,
      kernel,
      counters,
      told: this.#told,
      windowBatches: plan.clientWindow,
      thinkUs: plan.thinkUs,
      nodes: () => this.#cluster.nodes,
    });
    this.#clients.push(client);
    return client;
  }

  /**
   * All is well but one partition that leaves a majority whole: that majority serves, and stays
   * undisturbed by the others (thesis 4.2.3, 6.2).
   */
  async #partial(injector: FaultInjector, operator: Operator): Promise<void> {
    const { kernel, plan, counters } = this.#cluster;
    if (!plan.partialPhase) return;
    kernel.note('heal but for a partition');
    kernel.after(0, () => injector.heal());
    const settled = (): boolean => operator.done && this.#cluster.leader() !== undefined;
    if (!(await this.#cluster.run(settled, kernel.nowUs + CONVERGE_US))) return;
    await this.#cluster.run(() => false, kernel.nowUs + 2 * ELECTION_US);
    const shape = cutInPart(this.#cluster, kernel.stream('partial'));
    if (shape === undefined) return;
    counters.add('partial partitions');
    await this.#cluster.run(() => false, kernel.nowUs + 2 * ELECTION_US);
    const { confirmed } = this.#total();
    const serves = (): boolean => this.#total().confirmed > confirmed + SERVED_WRITES;
    if (await this.#cluster.run(serves, kernel.nowUs + PARTIAL_US)) return;
    violation('serves in part', `a whole majority does not serve: ${shape}`);
  }

  #total(): { readonly confirmed: number } {
    let confirmed = 0;
    for (const client of this.#clients) confirmed += client.confirmed;
    return { confirmed };
  }

  async #converge(operator: Operator): Promise<void> {
    const { kernel } = this.#cluster;
    const holds = (): boolean =>
      operator.done && this.#clients.every(({ idle }) => idle) && this.#agree();
    if (await this.#cluster.run(holds, kernel.nowUs + CONVERGE_US)) return;
    violation('serves after healing', `no agreement: ${this.#describe(operator)}`);
  }

  /** One leads, and all of its members have applied all of its log. */
  #agree(): boolean {
    const leader = this.#cluster.leader();
    const view = leader?.view();
    if (view === undefined || view.applied !== view.last) return false;
    const members = this.#cluster.nodes.filter(({ id }) => view.members.includes(id));
    return (
      members.length === view.members.length &&
      members.every((node) => {
        const seen = node.view();
        if (seen === undefined || seen.needsRepair) return false;
        return seen.applied === view.applied && seen.term === view.term;
      })
    );
  }

  #describe(operator: Operator): string {
    const nodes = this.#cluster.nodes.map((node) => `${node.id} ${JSON.stringify(node.view())}`);
    const clients = this.#clients.map(
      ({ name, confirmed, highest }) => `${name} ${confirmed} of ${highest}`,
    );
    return [...nodes, ...clients, operator.done ? '' : 'a change of members is not done'].join(
      '\n',
    );
  }

  /** Fresh writes and reads are answered. */
  async #serve(): Promise<void> {
    const { kernel, counters } = this.#cluster;
    const fresh = this.#makeClient('fresh');
    const reads = counters.get('reads');
    const served = (): boolean =>
      fresh.confirmed >= SERVED_WRITES && counters.get('reads') > reads && fresh.idle;
    const enough = (): boolean => {
      if (fresh.confirmed >= SERVED_WRITES) fresh.stop();
      return served();
    };
    if (!(await this.#cluster.run(enough, kernel.nowUs + SERVE_US))) {
      const text = `${fresh.confirmed} of ${SERVED_WRITES} fresh writes are confirmed`;
      violation('serves after healing', text);
    }
    if (!(await this.#cluster.run(() => this.#agree(), kernel.nowUs + SERVE_US))) {
      violation('serves after healing', 'the replicas do not agree on the fresh writes');
    }
  }

  /** On every replica: each client's numbers once and in order, at least what it was told. */
  #histories(): void {
    const view = this.#cluster.leader()?.view();
    const digests = new Map<number, string>();
    for (const node of this.#cluster.nodes) {
      if (view?.members.includes(node.id) !== true) continue;
      digests.set(node.digest(), node.id);
      const history = node.history();
      for (const client of this.#clients) {
        this.#history(node.id, client, history.get(client.name) ?? []);
      }
    }
    if (digests.size === 1) return;
    violation('replicas agree', `${[...digests.values()].join(', ')} have different states`);
  }

  #history(id: string, client: Client, numbers: readonly number[]): void {
    const { name, confirmed, highest } = client;
    for (const [at, number] of numbers.entries()) {
      if (number === at + 1 && number <= highest) continue;
      violation('applied once, in order', `${id}: ${name} has ${number} at place ${at + 1}`);
    }
    if (numbers.length >= confirmed) return;
    const text = `${id} has ${numbers.length} of ${name}, which was told ${confirmed}`;
    violation('confirmed is applied', text);
  }

  /** Each by itself: the power goes, and what its disk alone holds is what was promised. */
  async #audit(): Promise<void> {
    const { nodes, network, kernel } = this.#cluster;
    for (const from of nodes) for (const to of nodes) network.cut(from.id, to.id);
    for (const node of nodes) node.crash();
    for (const { id } of nodes) this.#cluster.startNode(id);
    const started = (): boolean => nodes.every(({ state }) => state === 'up');
    if (await this.#cluster.run(started, kernel.nowUs + OPEN_US)) return;
    const states = nodes.map(({ id, state }) => `${id} ${state}`).join(', ');
    violation('promise kept over a crash', `not every replica starts from its disk: ${states}`);
  }
}
