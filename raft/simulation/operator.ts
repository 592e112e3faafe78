/**
 * The operator of a simulated cluster: changes who is a member, moves leadership, and replaces
 * machines whose disk is lost.
 *
 * It never takes what the cluster cannot do without: a disk is lost only while nobody else is
 * damaged or still without an end that it lost (such a one neither votes nor stands), and while, in
 * every configuration that some replica may believe in, a majority of the voters keeps theirs; and
 * a machine with a lost disk is removed and another added in its place, retried until both are
 * done.
 */

import type { MembershipChange } from '../raft.ts';
import type { Cluster } from './cluster.ts';
import type { SimulatedNode } from './node.ts';
import { shuffled } from './partitions.ts';
import type { Random } from './random.ts';

const RETRY_US = 150_000;
const VOTERS_MOST = 5;
const MACHINES_MOST = 12;

export type OperatorKind =
  | 'transfer'
  | 'member: add'
  | 'member: remove'
  | 'member: remove leader'
  | 'member: replace'
  | 'member: two at once'
  | 'disk lost'
  | 'disk wiped'
  | 'wiped and re-added';

export class Operator {
  readonly #cluster: Cluster;
  readonly #random: Random;
  /** Members that are to go, since their disk is lost or is to be wiped. */
  readonly #leaving = new Set<string>();
  /** Machines that are to become members. */
  readonly #coming = new Set<string>();
  #retrying = false;
  /** Came back under its name without what it knew, and has not been told so. */
  #wiped: string | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#random = cluster.kernel.stream('operator');
    cluster.onHalt = (id) => this.#replaceHalted(id);
  }

  /** Nothing is left to be done. */
  get done(): boolean {
    return this.#leaving.size === 0 && this.#coming.size === 0 && this.#wiped === undefined;
  }

  act(kind: OperatorKind): string | undefined {
    const leader = this.#cluster.leader();
    if (leader === undefined) return undefined;
    switch (kind) {
      case 'transfer':
        return this.#transfer(leader);
      case 'member: add':
        return this.#add(leader);
      case 'member: remove':
        return this.#remove(leader, this.#someVoter(leader, false));
      case 'member: remove leader':
        return this.#remove(leader, leader.id);
      case 'member: replace':
      case 'wiped and re-added':
        return this.#replace(leader, kind === 'wiped and re-added');
      case 'member: two at once':
        return this.#twoAtOnce(leader);
      case 'disk lost':
        return this.#loseDisk(leader);
      case 'disk wiped':
        return this.#wipe(leader);
    }
  }

  /**
   * Whether all that is committed can be got back when some of this machine's log goes bad: no
   * other one is damaged or lost, and enough of them vote.
   */
  sparesDamage(node: SimulatedNode): boolean {
    if (!this.done || this.#cluster.nodes.some(({ isDamaged }) => isDamaged)) return false;
    if (!isFounded(this.#cluster.leader())) return false;
    const sets = this.#cluster.nodes.flatMap((one) => one.voterSets());
    return sets.every((voters) => voters.length >= 3 || !voters.includes(node.id));
  }

  /** A change that nobody else will hear of soon. */
  changeUnheard(leader: SimulatedNode): void {
    const id = this.#someVoter(leader, false);
    if (id === undefined || !this.done || !this.#safeWithout(id)) return;
    this.#change(leader, { kind: 'demote', id });
  }

  #transfer(leader: SimulatedNode): string | undefined {
    const to = this.#someVoter(leader, false);
    if (to === undefined) return undefined;
    return leader.transfer(to)?.kind === 'started' ? `${leader.id} to ${to}` : undefined;
  }

  /** One that was a member before, with all that it knows, or a new one. */
  #add(leader: SimulatedNode): string | undefined {
    const { machines, nodes } = this.#cluster;
    if (this.#votersOf(leader).length >= VOTERS_MOST || !this.done) return undefined;
    const members = this.#membersOf(leader);
    const former = nodes.filter(({ id, state }) => state === 'up' && !members.includes(id));
    const old = former.length > 0 && this.#random.chance(0.5);
    if (!old && machines.size >= MACHINES_MOST) return undefined;
    const id = old ? this.#random.pick(former).id : this.#makeMachine();
    return this.#comes(id);
  }

  #remove(leader: SimulatedNode, id: string | undefined): string | undefined {
    if (id === undefined || !this.done || !this.#safeWithout(id)) return undefined;
    if (this.#votersOf(leader).length < 2) return undefined;
    const change: MembershipChange = { kind: 'remove', id };
    return this.#change(leader, change) ? `remove ${id}` : undefined;
  }

  /** Removes one for good, and adds another machine; `wiped`: it may also be the one that leads. */
  #replace(leader: SimulatedNode, wiped: boolean): string | undefined {
    const id = this.#someVoter(leader, wiped);
    if (id === undefined || !this.done || this.#cluster.machines.size >= MACHINES_MOST) {
      return undefined;
    }
    if (this.#votersOf(leader).length < 2 || !this.#safeWithout(id)) return undefined;
    this.#leaving.add(id);
    return `${id} by ${this.#comes(this.#makeMachine())}`;
  }

  /** Two requests without waiting: at most one may be taken. */
  #twoAtOnce(leader: SimulatedNode): string | undefined {
    const { counters } = this.#cluster;
    const one = this.#someVoter(leader, false);
    if (one === undefined || !this.done || !this.#safeWithout(one)) return undefined;
    if (this.#votersOf(leader).length < 3) return undefined;
    const first = this.#change(leader, { kind: 'remove', id: one });
    if (!first) return undefined;
    const members = this.#membersOf(leader);
    const former = this.#cluster.nodes.filter(({ id }) => !members.includes(id) && id !== one);
    const other = former[0]?.id;
    const change: MembershipChange =
      other === undefined
        ? { kind: 'demote', id: this.#someVoter(leader, false) ?? leader.id }
        : { kind: 'add', id: other, address: '', role: 'joining' };
    const second = leader.change(change);
    if (second?.kind === 'accepted') counters.add('rare: two changes of membership taken');
    return `remove ${one}, ${change.kind} ${change.id}`;
  }

  /** What it may have promised is lost with the damage: it goes as one that lost its disk. */
  #replaceHalted(id: string): void {
    const machine = this.#cluster.machines.get(id);
    if (machine === undefined || machine.lost) return;
    this.#cluster.lose(machine);
    if (this.#wiped === id) this.#wiped = undefined;
    this.#leaving.add(id);
    const name = this.#comes(this.#makeMachine());
    this.#cluster.kernel.note(`${id} is replaced by ${name}`);
  }

  #loseDisk(leader: SimulatedNode): string | undefined {
    const { machines } = this.#cluster;
    const id = this.#someVoter(leader, true);
    const machine = machines.get(id ?? '');
    if (id === undefined || machine === undefined || !this.done) return undefined;
    if (machines.size >= MACHINES_MOST || !this.#safeWithout(id)) return undefined;
    if (!isFounded(leader)) return undefined;
    machine.node.crash();
    this.#cluster.lose(machine);
    this.#leaving.add(id);
    return `${id}, in its place ${this.#comes(this.#makeMachine())}`;
  }

  /** The machine starts under its name with an empty disk, as if it were new. */
  #wipe(leader: SimulatedNode): string | undefined {
    const { machines, kernel } = this.#cluster;
    const id = this.#someVoter(leader, true);
    const machine = machines.get(id ?? '');
    if (id === undefined || machine?.isFounder !== true || !this.done) return undefined;
    if (machines.size >= MACHINES_MOST || !this.#safeWithout(id)) return undefined;
    if (!isFounded(leader)) return undefined;
    machine.node.crash();
    machine.node.wipe();
    machine.isFounder = false;
    this.#wiped = id;
    kernel.after(this.#random.pick([1, 50_000, 1_000_000]), () => {
      if (machine.node.state === 'down') this.#cluster.startNode(id);
    });
    this.#retry();
    return id;
  }

  /** One that was removed meanwhile is told nothing any more. */
  #forgetWiped(members: readonly string[]): void {
    const machine = this.#cluster.machines.get(this.#wiped ?? '');
    if (machine === undefined || members.includes(machine.node.id)) return;
    machine.node.crash();
    this.#cluster.lose(machine);
    this.#wiped = undefined;
  }

  /**
   * Whether in every configuration that anybody has, a majority of its voters keeps its disk when
   * this one goes.
   */
  #safeWithout(id: string): boolean {
    const { machines, nodes } = this.#cluster;
    if (nodes.some(({ isDamaged }) => isDamaged)) return false;
    for (const { node, lost } of machines.values()) {
      if (lost || node.id === this.#wiped) continue;
      for (const voters of node.voterSets()) {
        const kept = voters.filter((voter) => {
          return voter !== id && voter !== this.#wiped && machines.get(voter)?.lost !== true;
        });
        if (voters.length > 0 && kept.length <= voters.length / 2) return false;
      }
    }
    return true;
  }

  #makeMachine(): string {
    const waiting = { index: 0, configuration: { members: [] } };
    const { node } = this.#cluster.make(waiting);
    this.#cluster.startNode(node.id);
    return node.id;
  }

  #comes(id: string): string {
    this.#coming.add(id);
    this.#retry();
    return id;
  }

  /** Who is to go goes first: one change at a time. */
  #retry(): void {
    if (this.#retrying) return;
    this.#retrying = true;
    this.#cluster.kernel.after(RETRY_US, () => {
      this.#retrying = false;
      const leader = this.#cluster.leader();
      if (leader !== undefined) this.#goOn(leader);
      if (!this.done) this.#retry();
    });
  }

  /** A change that is not committed may be taken back. */
  #goOn(leader: SimulatedNode): void {
    if (leader.view()?.settled !== true) return;
    const members = this.#membersOf(leader);
    this.#forgetWiped(members);
    for (const id of this.#leaving) {
      if (!members.includes(id)) this.#leaving.delete(id);
      else return void this.#change(leader, { kind: 'remove', id });
    }
    for (const id of this.#coming) {
      if (this.#votersOf(leader).includes(id)) this.#coming.delete(id);
      else if (!members.includes(id)) {
        return void this.#change(leader, { kind: 'add', id, address: '', role: 'joining' });
      }
    }
  }

  #change(leader: SimulatedNode, change: MembershipChange): boolean {
    const { counters, kernel } = this.#cluster;
    const changed = leader.change(change);
    if (changed === undefined) return false;
    const outcome = changed.kind === 'accepted' ? 'accepted' : changed.code;
    kernel.note(`${leader.id} ${change.kind} ${change.id}: ${outcome}`);
    counters.add(changed.kind === 'accepted' ? 'membership changes' : `refused: ${outcome}`);
    return changed.kind === 'accepted';
  }

  #someVoter(leader: SimulatedNode, withLeader: boolean): string | undefined {
    const voters = this.#votersOf(leader).filter((id) => withLeader || id !== leader.id);
    return shuffled(voters, this.#random)[0];
  }

  #votersOf(leader: SimulatedNode): readonly string[] {
    return leader.view()?.voters ?? [];
  }

  #membersOf(leader: SimulatedNode): readonly string[] {
    return leader.view()?.members ?? [];
  }
}

/**
 * A cluster begins with the vote of every founder, and until its first entry is committed nobody
 * else need know who they are: until then none of them may be hurt.
 */
function isFounded(leader: SimulatedNode | undefined): boolean {
  return (leader?.view()?.committed ?? 0) > 0;
}
