/**
 * The cluster of one simulation: its nodes, what connects them, and who looks at them after every
 * event.
 *
 * A node that lost its disk never comes back under its name: the operator removes it and adds
 * another one in its place (thesis 11.7.2).
 */

import type { ConfigurationAt, Limits as CoreLimits, Member, Message } from '../raft.ts';
import { CoreNode } from './core-node.ts';
import type { Transfer } from './core-node.ts';
import { Counters } from './counters.ts';
import { Kernel } from './kernel.ts';
import { Network } from './network.ts';
import { SafetyChecks } from './safety-checks.ts';
import type { ReplicaView } from './safety-checks.ts';
import { SimulatedStore } from './simulated-store.ts';
import { planOf } from './swarm.ts';
import type { Limits, Plan } from './swarm.ts';
import { VirtualClock } from './virtual-clock.ts';
import { Violation } from './violation.ts';

const TICK_MS = 10;
const HEARTBEAT_TICKS = 5;
const ELECTION_TICKS = 50;
/** The longest election time-out. */
export const ELECTION_US = 2 * ELECTION_TICKS * TICK_MS * 1000;

/** One machine of the cluster. */
export interface Machine {
  readonly node: CoreNode;
  readonly store: SimulatedStore;
  readonly clock: VirtualClock;
  /** Its disk is lost: it never starts again. */
  lost: boolean;
}

export class Cluster {
  readonly kernel: Kernel;
  readonly plan: Plan;
  readonly counters = new Counters();
  readonly checks = new SafetyChecks();
  readonly network: Network<Message | Transfer>;
  readonly machines = new Map<string, Machine>();
  readonly #touched = new Set<string>();
  #made = 0;

  constructor(seed: number, change: (plan: Plan) => Plan) {
    this.kernel = new Kernel(seed);
    this.plan = change(planOf(this.kernel.stream('plan')));
    this.network = new Network({
      kernel: this.kernel,
      faults: this.plan.links,
      counters: this.counters,
      deliver: (from, to, message) => this.#deliver(from, to, message),
    });
  }

  async start(): Promise<void> {
    const members: Member[] = [];
    for (let number = 1; number <= this.plan.nodes; number += 1) {
      members.push({ id: `n${number}`, role: 'voter', address: '' });
    }
    const configuration: ConfigurationAt = { index: 0, configuration: { members } };
    for (const _ of members) this.make(configuration);
    for (const id of this.machines.keys()) await this.startNode(id);
  }

  /** A machine under a name that was never used, with an empty disk. */
  make(configuration: ConfigurationAt): Machine {
    const { kernel, plan, checks, counters } = this;
    const id = `n${(this.#made += 1)}`;
    const clock = new VirtualClock(kernel, kernel.stream(`clock ${id}`).below(10_000_000));
    const store = new SimulatedStore(kernel, id, configuration);
    const node = new CoreNode({
      id,
      kernel,
      clock,
      store,
      checks,
      counters,
      limits: coreLimits(plan.limits),
      tickMs: TICK_MS,
      checkpointEntries: plan.limits.checkpointEntries,
      keptEntries: plan.tiny ? 2 : 20,
      send: (to, message) => this.network.send(id, to, message),
      touched: () => this.#touched.add(id),
    });
    const machine: Machine = { node, store, clock, lost: false };
    this.machines.set(id, machine);
    return machine;
  }

  async startNode(id: string): Promise<void> {
    const machine = this.machines.get(id);
    if (machine === undefined || machine.lost) return;
    this.kernel.note(`start ${id}`);
    this.#touched.add(id);
    await machine.node.start();
  }

  /** Those whose disk is there, in the order in which they were made. */
  get nodes(): CoreNode[] {
    return [...this.machines.values()].filter(({ lost }) => !lost).map(({ node }) => node);
  }

  /** Of all that believe it, the one in the highest term. */
  leader(): CoreNode | undefined {
    let found: CoreNode | undefined;
    let term = -1;
    for (const node of this.nodes) {
      const view = node.state === 'up' ? node.view() : undefined;
      if (view?.leads !== true || view.term <= term) continue;
      found = node;
      term = view.term;
    }
    return found;
  }

  /** Runs the kernel, and looks at every node that an event touched. */
  async run(holds: () => boolean, untilUs: number): Promise<boolean> {
    return this.kernel.runUntil(() => {
      this.#look();
      return holds();
    }, untilUs);
  }

  /** What is thrown by the code itself is a violation too. */
  static asViolation(error: unknown): Violation {
    if (error instanceof Violation) return error;
    return new Violation('no crash of the code', String(error), error);
  }

  #look(): void {
    for (const id of this.#touched) {
      const view = this.machines.get(id)?.node.view();
      if (view !== undefined) {
        this.kernel.note(`${id} ${textOf(view)}`);
        this.checks.look(id, view);
      }
    }
    this.#touched.clear();
  }

  #deliver(from: string, to: string, message: Message | Transfer): void {
    const machine = this.machines.get(to);
    if (machine === undefined) return;
    const term = 'term' in message ? ` term ${message.term}` : '';
    this.kernel.note(`${from}>${to} ${message.kind}${term}`);
    machine.node.receive(from, message);
  }
}

function textOf(view: ReplicaView): string {
  const { term, vote, leads, start, applied, committed, last } = view;
  return `${leads ? 'leads' : 'in'} ${term} for ${vote} [${start} ${applied} ${committed} ${last}]`;
}

function coreLimits(limits: Limits): Partial<CoreLimits> {
  return {
    heartbeatTicks: HEARTBEAT_TICKS,
    electionTicks: ELECTION_TICKS,
    windowMessages: limits.windowMessages,
    windowBytes: limits.windowBytes,
    messageBytes: limits.windowBytes,
    entryBytes: limits.maxEntryBytes,
    uncommittedBytes: limits.maxUncommittedBytes,
    tailBytes: limits.keptBytes,
    applyBytes: limits.windowBytes,
  };
}
