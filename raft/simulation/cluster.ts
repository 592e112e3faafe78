/**
 * The cluster of one simulation: its nodes, what connects them, and who looks at them after every
 * event.
 *
 * A node that lost its disk is removed, and another one is added in its place (thesis 11.7.2). One
 * that comes back under its name all the same finds that out, and is replaced then.
 */

import type { PeerMessage } from '../host/peer-message.ts';
import type { ConfigurationAt, Limits as CoreLimits, Member, Message } from '../raft.ts';
import { CoreNode } from './core-node.ts';
import type { Transfer } from './core-node.ts';
import { Counters } from './counters.ts';
import { SimulatedDisk } from './disk/disk.ts';
import { HostNode } from './host-node.ts';
import { callUs } from './host-storage.ts';
import { Kernel } from './kernel.ts';
import { hasMovingClock, MovingClock } from './moving-clock.ts';
import { Network } from './network.ts';
import type { SimulatedNode } from './node.ts';
import { SafetyChecks } from './safety-checks.ts';
import type { ReplicaView } from './safety-checks.ts';
import { SimulatedStore } from './simulated-store.ts';
import type { MachineKind } from './state-machine.ts';
import { planOf } from './swarm.ts';
import type { Limits, Plan } from './swarm.ts';
import { VirtualClock } from './virtual-clock.ts';
import { Violation } from './violation.ts';

const TICK_MS = 10;
const HEARTBEAT_TICKS = 10;
const ELECTION_TICKS = 50;
/** The longest election time-out. */
export const ELECTION_US = 2 * ELECTION_TICKS * TICK_MS * 1000;
const DISK_PACE = { leastUs: 20, mostUs: 400 };
const WALL_START_US = 1_700_000_000_000_000;
const WALL_OFFSET_MOST_US = 10_000_000;

/** A clock that moves with its readings, of the kernel's time. */
const AHEAD_MS_MOST = 10;

/** A vote or an acknowledgement leaves; a state takes the place of a log. */
export type Moment = 'promise' | 'installing';

type AnyMessage = PeerMessage | Message | Transfer;

export interface ClusterOptions {
  change(plan: Plan): Plan;
  readonly machines: MachineKind;
}

/** One machine of the cluster. */
export interface Machine {
  readonly node: SimulatedNode;
  readonly clock: VirtualClock;
  /** By `Cluster.lose`. */
  lost: boolean;
  /** It was made with the cluster, and has the disk that it was made with. */
  isFounder: boolean;
}

export class Cluster {
  readonly kernel: Kernel;
  readonly plan: Plan;
  readonly counters = new Counters();
  readonly checks = new SafetyChecks();
  readonly network: Network<AnyMessage>;
  readonly machines = new Map<string, Machine>();
  /** Who is told of the next moment of that kind, of whichever node. */
  readonly armed = new Map<Moment, (id: string) => void>();
  /** Told of a replica that refuses to go on with what is left on its disk. */
  onHalt: ((id: string) => void) | undefined;
  /** Told of a replica that was stopped by its disk. */
  onFailure: ((id: string) => void) | undefined;
  readonly #receivers = new Map<string, (from: string, message: AnyMessage) => void>();
  readonly #machines: MachineKind;
  /** Clocks move with their readings. */
  readonly #moves: boolean;
  #nodes: readonly SimulatedNode[] = [];
  readonly #touched = new Set<string>();
  readonly #seen = new Map<string, { readonly view: ReplicaView; readonly line: string }>();
  #violation: Violation | undefined;

  constructor(seed: number, options: ClusterOptions) {
    this.#moves = hasMovingClock(seed);
    this.#machines = options.machines;
    this.kernel = new Kernel(seed);
    this.plan = options.change(planOf(this.kernel.stream('plan')));
    if (this.plan.level === 'core') this.kernel.withoutPromises();
    this.network = new Network({
      kernel: this.kernel,
      faults: this.plan.links,
      counters: this.counters,
      deliver: (from, to, message) => this.#deliver(from, to, message),
    });
  }

  start(): void {
    const members: Member[] = [];
    for (let number = 1; number <= this.plan.nodes; number += 1) {
      members.push({ id: `n${number}`, role: 'voter', address: '' });
    }
    const configuration: ConfigurationAt = { index: 0, configuration: { members } };
    for (const _ of members) this.make(configuration).isFounder = true;
    for (const id of this.machines.keys()) this.startNode(id);
  }

  /** A machine under a name that was never used, with an empty disk. */
  make(configuration: ConfigurationAt): Machine {
    const id = `n${this.machines.size + 1}`;
    const clock = new VirtualClock(
      this.kernel,
      WALL_START_US + this.kernel.stream(`clock ${id}`).below(WALL_OFFSET_MOST_US),
      this.#moves
        ? new MovingClock(this.kernel.stream(`readings ${id}`), AHEAD_MS_MOST)
        : undefined,
    );
    const node =
      this.plan.level === 'host'
        ? this.#hostNode(id, clock, configuration)
        : this.#coreNode(id, clock, configuration);
    const machine: Machine = { node, clock, lost: false, isFounder: false };
    this.machines.set(id, machine);
    this.#nodes = [...this.#nodes, node];
    return machine;
  }

  startNode(id: string): void {
    const machine = this.machines.get(id);
    if (machine === undefined || machine.lost) return;
    this.kernel.note(`start ${id}`);
    this.#touched.add(id);
    machine.node.start();
  }

  /** Those whose disk is there, in the order in which they were made. */
  get nodes(): readonly SimulatedNode[] {
    return this.#nodes;
  }

  /** Its disk is gone: it never starts again. */
  lose(machine: Machine): void {
    machine.lost = true;
    this.#nodes = [...this.machines.values()].filter(({ lost }) => !lost).map(({ node }) => node);
  }

  /** Of all that believe it, the one in the highest term. */
  leader(): SimulatedNode | undefined {
    let found: SimulatedNode | undefined;
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
      if (this.#violation !== undefined) throw this.#violation;
      return holds();
    }, untilUs);
  }

  /** Somebody found that something does not hold; the run ends with the event. */
  violated(error: unknown): void {
    this.#violation ??= asViolation(error);
  }

  #look(): void {
    if (this.#touched.size === 0) return;
    for (const id of this.#touched) {
      const view = this.machines.get(id)?.node.view();
      if (view !== undefined) {
        this.kernel.note(this.#lineOf(id, view));
        this.checks.look(id, view);
      }
    }
    this.#touched.clear();
  }

  /** Most events change nothing that is seen. */
  #lineOf(id: string, view: ReplicaView): string {
    const seen = this.#seen.get(id);
    if (seen !== undefined && isTheSame(seen.view, view)) return seen.line;
    const line = `${id} ${textOf(view)}`;
    this.#seen.set(id, { view, line });
    return line;
  }

  #send(from: string, to: string, message: AnyMessage): void {
    this.#checkPromise(from, message);
    this.network.send(from, to, message);
    if (isPromise(message)) this.armed.get('promise')?.(from);
  }

  #checkPromise(from: string, message: AnyMessage): void {
    try {
      if (message.kind === 'requestVote' && !message.preVote) {
        this.checks.votes(from, message.term, from);
      } else if (message.kind === 'requestVoteReply' && isPromise(message)) {
        this.checks.votes(from, message.term, message.to);
      } else if (message.kind === 'appendEntriesReply' && message.success) {
        this.checks.acknowledges(from, message.matchIndex);
      }
    } catch (error) {
      this.violated(error);
    }
  }

  #deliver(from: string, to: string, message: AnyMessage): void {
    const term = 'term' in message ? ` term ${message.term}` : '';
    this.kernel.note(`${from}>${to} ${message.kind}${term}`);
    this.#receivers.get(to)?.(from, message);
  }

  #common(id: string) {
    const { kernel, checks, counters } = this;
    const touched = (): void => void this.#touched.add(id);
    const installing = (): void => this.armed.get('installing')?.(id);
    const halted = (): void => this.onHalt?.(id);
    const failed = (): void => this.onFailure?.(id);
    const told = { touched, installing, halted, failed };
    return { id, kernel, checks, counters, ...told, machines: this.#machines, tickMs: TICK_MS };
  }

  #hostNode(id: string, clock: VirtualClock, configuration: ConfigurationAt): HostNode {
    const { kernel, plan } = this;
    const pace = { ...DISK_PACE, slowedBy: 0 };
    const paces = kernel.stream(`disk pace ${id}`);
    const disk = new SimulatedDisk({
      seed: `${kernel.seed} ${id}`,
      later: (run) => void kernel.after(callUs(pace, paces), run),
    });
    const node = new HostNode({
      ...this.#common(id),
      clock,
      disk,
      pace,
      core: coreLimits(plan.limits),
      limits: { ...plan.limits, syncMode: plan.syncMode, copyBytes: plan.copyBytes },
      configuration,
      send: (message) => this.#send(id, message.to, message),
      violated: (error) => this.violated(error),
    });
    this.#receivers.set(id, (_from, message) => node.receive(message as PeerMessage));
    return node;
  }

  #coreNode(id: string, clock: VirtualClock, configuration: ConfigurationAt): CoreNode {
    const { limits } = this.plan;
    const node = new CoreNode({
      ...this.#common(id),
      clock,
      store: new SimulatedStore(this.kernel, id, configuration),
      limits: coreLimits(limits),
      checkpointEntries: limits.checkpointEntries,
      keptEntries: limits.keptEntries,
      send: (to, message) => this.#send(id, to, message),
    });
    this.#receivers.set(id, (from, message) => node.receive(from, message as Message | Transfer));
    return node;
  }
}

/** What is thrown by the code itself is a violation too. */
export function asViolation(error: unknown): Violation {
  if (error instanceof Violation) return error;
  return new Violation('no crash of the code', String(error), error);
}

/** Something that must be durable already. */
function isPromise(message: AnyMessage): boolean {
  if (message.kind === 'requestVoteReply') return message.voteGranted && !message.preVote;
  return message.kind === 'appendEntriesReply' && message.success;
}

function textOf(view: ReplicaView): string {
  const { term, vote, leads, start, applied, committed, last } = view;
  return `${leads ? 'leads' : 'in'} ${term} for ${vote} [${start} ${applied} ${committed} ${last}]`;
}

/** As far as `textOf` tells it. */
function isTheSame(one: ReplicaView, other: ReplicaView): boolean {
  return (
    one.applied === other.applied &&
    one.committed === other.committed &&
    one.last === other.last &&
    one.term === other.term &&
    one.start === other.start &&
    one.leads === other.leads &&
    one.vote === other.vote
  );
}

function coreLimits(limits: Limits): Partial<CoreLimits> {
  return {
    heartbeatTicks: HEARTBEAT_TICKS,
    electionTicks: ELECTION_TICKS,
    windowMessages: limits.windowMessages,
    windowBytes: limits.windowBytes,
    messageBytes: limits.messageBytes,
    entryBytes: limits.maxEntryBytes,
    uncommittedBytes: limits.maxUncommittedBytes,
    tailBytes: limits.keptBytes,
    applyBytes: limits.windowBytes,
  };
}
