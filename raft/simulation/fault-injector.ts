/**
 * Installs the faults of one seed: at drawn times, a kind that the plan allows, at a drawn place.
 *
 * Every kind of the plan comes up as often as every other; one that cannot be installed now (nobody
 * leads, too few disks would be left) is tried again later. What is installed is counted; what is
 * requested and never installed in a whole run is a failure of the harness. Everything ends by
 * itself, and at the latest with `heal`.
 */

import type { Cluster, Moment } from './cluster.ts';
import type { DiskFault, SimulatedNode } from './node.ts';
import type { Operator } from './operator.ts';
import { linksCutBy, shuffled } from './partitions.ts';
import type { Partition } from './partitions.ts';
import type { Random } from './random.ts';
import type { StepKind } from './swarm.ts';

const MILLISECOND_US = 1000;
const SECOND_US = 1_000_000;
const TAIL_MOST = 40;
const STOP_LOOK_US = 50_000;
const STOP_LOOKS_MOST = 100;
const START_AGAIN_US = 50_000;
/** Its numbers leave gaps, so nothing of it is ever applied. */
const NOISE = 'noise';

export class FaultInjector {
  readonly #cluster: Cluster;
  readonly #operator: Operator;
  readonly #random: Random;
  #round: StepKind[] = [];
  #over = false;
  /** To be undone, if it has not ended by itself. */
  readonly #undo = new Set<() => void>();
  /** A call of theirs may have met a fault before it was healed: each may fail once more. */
  readonly #mayFail = new Set<string>();

  constructor(cluster: Cluster, operator: Operator) {
    this.#cluster = cluster;
    this.#operator = operator;
    this.#random = cluster.kernel.stream('faults');
    cluster.onFailure = (id) => this.#failed(id);
    const { counters, plan } = cluster;
    const kinds = [...plan.stepKinds, ...plan.linkKinds];
    for (const kind of kinds) counters.add(`requested: ${kind}`);
    this.#later();
  }

  /**
   * Every fault ends; who is down starts again, and so does who fails afterwards of what it met
   * before: once, because its disk is whole from then on.
   */
  heal(): void {
    this.#over = true;
    for (const undo of this.#undo) undo();
    const { network, machines } = this.#cluster;
    network.heal();
    this.#mayFail.clear();
    for (const [id, { node, clock, lost }] of machines) {
      clock.setRate(1);
      if (node.state === 'paused') node.resume();
      if (node.state === 'failed') this.#startAgain(node);
      else if (node.state !== 'down') this.#mayFail.add(id);
      else if (!lost) this.#cluster.startNode(id);
    }
  }

  #later(): void {
    const { kernel, plan } = this.#cluster;
    if (plan.stepKinds.length === 0) return;
    kernel.after(this.#random.between(1, 2 * plan.stepEveryUs), () => {
      if (this.#over) return;
      this.#later();
      this.#step();
    });
  }

  /** The next kind of the round that can be installed. */
  #step(): void {
    const { plan, counters, kernel } = this.#cluster;
    if (this.#round.length === 0) this.#round = shuffled(plan.stepKinds, this.#random);
    for (const [at, kind] of this.#round.entries()) {
      const what = this.#install(kind);
      if (what === undefined) continue;
      counters.add(`installed: ${kind}`);
      kernel.note(`fault ${kind}: ${what}`);
      this.#round.splice(at, 1);
      return;
    }
  }

  /** Says what it did; undefined where it could not. */
  #install(kind: StepKind): string | undefined {
    switch (kind) {
      case 'clog':
        return this.#clog();
      case 'partition: alone':
      case 'partition: halves':
      case 'partition: bridge':
      case 'partition: ring':
      case 'partition: one-way':
      case 'partition: one-link':
        return this.#partition(kind.slice('partition: '.length) as Partition, undefined);
      case 'leader alone':
        return this.#leads((leader) => this.#partition('alone', leader.id));
      case 'stale tail':
        return this.#leads((leader) => this.#staleTail(leader));
      case 'crash: one':
        return this.#crash(this.#some(1));
      case 'crash: leader':
        return this.#leads((leader) => this.#crash([leader]));
      case 'crash: majority':
        return this.#crash(this.#some(Math.floor(this.#cluster.nodes.length / 2) + 1));
      case 'crash: all':
        return this.#crash(this.#cluster.nodes);
      case 'crash: at a promise':
        return this.#crashAt('promise', 1);
      case 'crash: while installing':
        return this.#crashAt('installing', 3 * MILLISECOND_US);
      case 'clean restart':
        return this.#cleanRestart();
      case 'pause':
        return this.#pause(this.#some(1)[0]);
      case 'pause: leader':
        return this.#leads((leader) => this.#pause(leader));
      case 'disk: slow':
      case 'disk: hung':
      case 'disk: failing':
      case 'disk: full':
      case 'disk: short writes':
        return this.#disk(kind.slice('disk: '.length) as DiskFault);
      case 'disk: damage at rest':
        return this.#damage();
      case 'clock: rate':
      case 'clock: wall jump':
        return this.#clock(kind);
      case 'disk wiped':
        return this.#wiped();
      default:
        return this.#operator.act(kind);
    }
  }

  #leads(act: (leader: SimulatedNode) => string | undefined): string | undefined {
    const leader = this.#cluster.leader();
    return leader === undefined ? undefined : act(leader);
  }

  /** So many that are up. */
  #some(count: number): SimulatedNode[] {
    const up = this.#cluster.nodes.filter(({ state }) => state === 'up');
    return shuffled(up, this.#random).slice(0, count);
  }

  /** Undone after a while, or by `heal`. */
  #for(leastUs: number, mostUs: number, undo: () => void): void {
    const end = (): void => {
      if (this.#undo.delete(end)) undo();
    };
    this.#undo.add(end);
    this.#cluster.kernel.after(this.#random.between(leastUs, mostUs), end);
  }

  #clog(): string | undefined {
    const [one, other] = this.#some(2);
    if (one === undefined || other === undefined) return undefined;
    this.#cluster.network.clog(one.id, other.id, this.#random.between(50_000, 3 * SECOND_US));
    return `${one.id}>${other.id}`;
  }

  #partition(shape: Partition, first: string | undefined): string | undefined {
    const { network, nodes } = this.#cluster;
    const names = nodes.map(({ id }) => id);
    const links = linksCutBy(shape, names, { random: this.#random, first });
    if (links.length === 0) return undefined;
    for (const [from, to] of links) network.cut(from, to);
    this.#for(100 * MILLISECOND_US, 6 * SECOND_US, () => {
      for (const [from, to] of links) network.mend(from, to);
    });
    return links.map(([from, to]) => `${from}>${to}`).join(' ');
  }

  /**
   * The leader alone is given entries that nobody else gets, perhaps a configuration; when another
   * one leads and has committed, that one goes down and the first is heard again.
   */
  #staleTail(leader: SimulatedNode): string | undefined {
    const { network, nodes, kernel } = this.#cluster;
    const links = linksCutBy(
      'alone',
      nodes.map(({ id }) => id),
      {
        random: this.#random,
        first: leader.id,
      },
    );
    if (links.length === 0) return undefined;
    for (const [from, to] of links) network.cut(from, to);
    const count = this.#random.between(1, TAIL_MOST);
    for (let left = count; left > 0; left -= 1) leader.propose(NOISE, [left], () => undefined);
    if (this.#random.chance(0.5)) this.#operator.changeUnheard(leader);
    this.#for(SECOND_US, 3 * SECOND_US, () => {
      for (const [from, to] of links) network.mend(from, to);
      const next = this.#cluster.leader();
      if (next !== undefined && next.id !== leader.id) this.#crash([next]);
    });
    kernel.note(`${leader.id} alone with ${count} entries`);
    return leader.id;
  }

  #crash(nodes: readonly SimulatedNode[]): string | undefined {
    const down = nodes.filter(({ state }) => state !== 'down');
    for (const node of down) {
      node.crash();
      this.#startLater(node.id);
    }
    return down.length === 0 ? undefined : down.map(({ id }) => id).join(' ');
  }

  /** The next one that does this goes down in the middle of it. */
  #crashAt(moment: Moment, withinUs: number): string | undefined {
    const { kernel, armed } = this.#cluster;
    if (armed.has(moment)) return undefined;
    armed.set(moment, (id) => {
      armed.delete(moment);
      kernel.after(this.#random.below(withinUs), () => {
        const node = this.#cluster.machines.get(id)?.node;
        if (!this.#over && node?.state === 'up') this.#crash([node]);
      });
    });
    this.#for(SECOND_US, 3 * SECOND_US, () => void armed.delete(moment));
    return 'whoever it is';
  }

  #startLater(id: string): void {
    const leastUs = this.#random.pick([1, 50, 500]) * MILLISECOND_US;
    this.#for(leastUs, 4 * SECOND_US, () => this.#startWhenDown(id, STOP_LOOKS_MOST));
  }

  /** One that stops in order may not be down yet. */
  #startWhenDown(id: string, looksLeft: number): void {
    const { machines, kernel } = this.#cluster;
    const state = machines.get(id)?.node.state;
    if (state === 'down') this.#cluster.startNode(id);
    if (state !== 'starting' || looksLeft === 0) return;
    kernel.after(STOP_LOOK_US, () => this.#startWhenDown(id, looksLeft - 1));
  }

  #cleanRestart(): string | undefined {
    const [node] = this.#some(1);
    if (node === undefined) return undefined;
    node.stop();
    this.#startLater(node.id);
    return node.id;
  }

  #pause(node: SimulatedNode | undefined): string | undefined {
    if (node?.state !== 'up') return undefined;
    node.pause();
    this.#for(50 * MILLISECOND_US, 5 * SECOND_US, () => node.resume());
    return node.id;
  }

  #disk(fault: DiskFault): string | undefined {
    const [node] = this.#some(1);
    const mend = node?.breakDisk(fault);
    if (node === undefined || mend === undefined) return undefined;
    this.#for(100 * MILLISECOND_US, 5 * SECOND_US, () => {
      mend();
      this.#startAgain(node);
    });
    return node.id;
  }

  /** A crash, and what was durable goes bad while it is down; of one machine at a time. */
  #damage(): string | undefined {
    const [node] = this.#some(1);
    if (node === undefined || !this.#operator.sparesDamage(node)) return undefined;
    this.#crash([node]);
    const text = node.damage(this.#random);
    return text === undefined ? undefined : `${node.id} ${text}`;
  }

  /** Half of the time the leader is cut off as well: the others are without what it has. */
  #wiped(): string | undefined {
    const who = this.#operator.act('disk wiped');
    if (who === undefined || this.#random.chance(0.5)) return who;
    const cut = this.#leads((leader) => this.#partition('alone', leader.id));
    return cut === undefined ? who : `${who}, and ${cut}`;
  }

  /** What it met is told to it late where it was paused, or where a call hung. */
  #failed(id: string): void {
    if (!this.#mayFail.delete(id)) return;
    const node = this.#cluster.machines.get(id)?.node;
    this.#cluster.kernel.after(START_AGAIN_US, () => {
      if (node !== undefined) this.#startAgain(node);
    });
  }

  /** After it stopped by itself: whoever runs it starts it again. */
  #startAgain(node: SimulatedNode): void {
    if (node.state !== 'failed') return;
    node.crash();
    this.#cluster.startNode(node.id);
  }

  #clock(kind: 'clock: rate' | 'clock: wall jump'): string | undefined {
    const [node] = this.#some(1);
    const clock = this.#cluster.machines.get(node?.id ?? '')?.clock;
    if (node === undefined || clock === undefined) return undefined;
    if (kind === 'clock: rate') {
      const rate = this.#random.pick([0.3, 0.7, 0.95, 1.05, 1.5, 3]);
      clock.setRate(rate);
      return `${node.id} at ${rate}`;
    }
    const byUs = this.#random.between(-3600, 3600) * SECOND_US;
    clock.jumpWall(byUs);
    return `${node.id} by ${byUs} us`;
  }
}
