/**
 * Changes of a cluster as steps, each of them told: a look at the leader's own configuration, one
 * wish where something is missing, and waiting until a majority has it (thesis 4.1, 4.2).
 *
 * Every step begins with that look and remembers nothing, so that a command may be interrupted
 * anywhere and given again: it goes on from what is there. It never guesses: another leader ends it
 * with that leader's name, since only a leader can be asked; what passes by itself is waited for.
 */

import type {
  ClusterAdmin,
  ClusterAnswer,
  ClusterRefusal,
  MemberChange,
  MemberStatus,
  NodeStatus,
  ReplicaStatus,
} from '../../admin/cluster-port.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { CLUSTER_REFUSED } from './cluster-refusals.ts';

/** What a step says: `step` for programs, `text` for people. */
export interface Step {
  readonly step: string;
  readonly node: string;
  readonly text: string;
  readonly fields?: Readonly<Record<string, number | string>>;
}

export interface StepsOptions {
  readonly cluster: ClusterAdmin;
  readonly shard: number;
  readonly say: (step: Step) => Promise<void>;
  /** Between two looks. */
  readonly pause: () => Promise<void>;
  /** Whether the time that was given is over. */
  readonly isOver: () => boolean;
}

/** What passes by itself: it is asked for again. */
const PASSING = new Set<ClusterRefusal>(['not-ready', 'pending', 'transferring', 'not-caught-up']);

export class ClusterSteps {
  readonly #options: StepsOptions;
  #node = '';
  #lastSaid = '';

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  /** As a learner first, which `votes` makes a voter once it has caught up. */
  async add(id: string, address: string, votes: boolean): Promise<void> {
    for (;;) {
      const view = await this.look();
      const member = memberOf(view, id);
      if (member === undefined) {
        const how = 'added as a learner, which gets what the others have';
        await this.#change(view, { kind: 'add', id, address, votes }, how);
      } else if (isUnderWay(view)) {
        await this.#say(id, 'waiting', 'waits until a majority has the change');
      } else if (member.role === 'voter') {
        return this.#say(id, 'voter', 'is a voter');
      } else if (!votes) {
        return this.#say(id, 'learner', `is a learner${joins(member)}`);
      } else {
        await this.#promote(view, member);
      }
      await this.#pause(id);
    }
  }

  async #promote(view: ReplicaStatus, member: MemberStatus): Promise<void> {
    const { id, address, progress } = member;
    this.#mustLead(view);
    if (progress?.active !== true) {
      const where = `does not answer at ${visible(address)}: start it, and it goes on`;
      return this.#say(id, 'away', where);
    }
    const { state, match, caughtUp } = progress;
    const fields = { match, last: view.last };
    const how = state === 'catch-up' ? 'gets a checkpoint' : 'catches up';
    const text = `${how}: has entry ${match} of ${view.last}`;
    await this.#tell({ node: id, step: 'catching-up', text, fields });
    if (member.role === 'learner' && caughtUp) {
      await this.#change(view, { kind: 'promote', id }, 'has caught up, and becomes a voter');
    }
  }

  async remove(id: string): Promise<void> {
    let asked = false;
    for (;;) {
      const view = await this.look();
      const member = memberOf(view, id);
      if (member === undefined) {
        if (!isUnderWay(view)) return this.#say(id, 'gone', 'is no member');
        await this.#say(id, 'waiting', 'waits until a majority has the change');
      } else if (asked && view.role !== 'leader' && view.leader === undefined) {
        await this.#say(id, 'waiting', 'waits for a leader');
      } else {
        mustKeepMajority(view, id);
        asked = (await this.#change(view, { kind: 'remove', id }, 'removed')) || asked;
      }
      await this.#pause(id);
    }
  }

  async transfer(to: string): Promise<void> {
    let begun = false;
    for (;;) {
      const view = await this.look();
      if (view.leader === to) return this.#say(to, 'leads', 'leads');
      if (begun && (view.leader === undefined || view.transferTo === to)) {
        await this.#say(to, 'waiting', 'is told to stand for election');
      } else {
        if (begun) await this.#say(to, 'again', 'has not taken over: asked again');
        this.#mustLead(view);
        begun = await this.#asked(await this.#options.cluster.transfer(this.#shard, to), to);
        if (begun) await this.#say(to, 'begun', `${visible(view.id)} hands over to it`);
      }
      await this.#pause(to);
    }
  }

  /** What this node's replica says now. */
  async look(): Promise<ReplicaStatus> {
    const status = await this.#options.cluster.status();
    this.#node = status.node;
    return replicaOf(status, this.#shard);
  }

  get #shard(): number {
    return this.#options.shard;
  }

  /** Whether it was made; what passes is asked for again by whoever looks next. */
  async #change(view: ReplicaStatus, change: MemberChange, done: string): Promise<boolean> {
    this.#mustLead(view);
    const answer = await this.#options.cluster.change(this.#shard, change);
    const made = await this.#asked(answer, change.id);
    if (made) await this.#say(change.id, `${change.kind}-asked`, done);
    return made;
  }

  async #asked(answer: ClusterAnswer, id: string): Promise<boolean> {
    if (answer.kind === 'accepted') return true;
    const { code, leader } = answer;
    // Somebody else was faster: the next look shows it.
    const isThere = code === 'already-member' || code === 'not-learner';
    if (isThere || code === 'not-member' || code === 'already-leader') return false;
    if (PASSING.has(code)) {
      await this.#say(id, 'waiting', `waits: ${CLUSTER_REFUSED[code]}`);
      return false;
    }
    if (code === 'not-leader') throw this.#notLeader(leader);
    const text = `shard ${this.#shard}, ${visible(id)}: ${CLUSTER_REFUSED[code]} (${code})`;
    throw new CliError(ExitCode.refused, text);
  }

  #mustLead(view: ReplicaStatus): void {
    if (view.role !== 'leader') throw this.#notLeader(view.leader);
  }

  #notLeader(leader: string | undefined): CliError {
    const here = `${visible(this.#node)} does not lead shard ${this.#shard}`;
    const there =
      leader === undefined
        ? 'nobody does for now: fluxmq cluster status tells when somebody does'
        : `${visible(leader)} does: give this command there`;
    return new CliError(ExitCode.refused, `${here}; ${there} (not-leader)`);
  }

  async #say(node: string, step: string, text: string): Promise<void> {
    await this.#tell({ node, step, text });
  }

  /** The same is told once. */
  async #tell(step: Step): Promise<void> {
    if (this.#lastSaid === step.text) return;
    this.#lastSaid = step.text;
    await this.#options.say(step);
  }

  async #pause(id: string): Promise<void> {
    if (this.#options.isOver()) {
      const text = `${visible(id)}: not done in time; give the command again, and it goes on`;
      throw new CliError(ExitCode.timeout, text);
    }
    await this.#options.pause();
  }
}

function replicaOf({ node, replicas }: NodeStatus, shard: number): ReplicaStatus {
  const replica = replicas.find((each) => each.shard === shard);
  if (replica !== undefined) return replica;
  throw new CliError(ExitCode.refused, `${visible(node)} has no shard ${shard} (no-shard)`);
}

function memberOf(view: ReplicaStatus, id: string): MemberStatus | undefined {
  return view.members.find((member) => member.id === id);
}

/** The configuration in use is not committed yet. */
function isUnderWay({ membersIndex, committed }: ReplicaStatus): boolean {
  return membersIndex > committed;
}

function joins({ role }: MemberStatus): string {
  return role === 'joining' ? ', and becomes a voter once it has caught up' : '';
}

/**
 * A removal is committed by those who are left: too few of them, and nothing would be committed any
 * more, the removal among it.
 */
function mustKeepMajority(view: ReplicaStatus, id: string): void {
  const left = view.members.filter((member) => member.role === 'voter' && member.id !== id);
  if (left.length === 0) return;
  const away = left.filter(({ progress }) => progress?.active === false).map((each) => each.id);
  if (left.length - away.length > left.length / 2) return;
  const names = away.map((each) => visible(each)).join(', ');
  const text =
    `without ${visible(id)} no majority of the voters is left that answers (away: ${names}): ` +
    'nothing could be committed; start or remove those first';
  throw new CliError(ExitCode.refused, text);
}
