/**
 * Changes of a shard's members as steps, each of them told: a look at the configuration in use, one
 * wish where something is missing, and waiting until a majority has it (thesis 4.1, 4.2).
 *
 * Every step begins with that look and remembers nothing, so that a command may be interrupted
 * anywhere and given again: it goes on from what is there. It may be given at any member: the wish
 * goes to whoever leads, and what passes by itself is waited for.
 */

import type {
  ClusterRefusal,
  MemberChange,
  MemberStatus,
  NodeStatus,
  ReplicaStatus,
} from '../../admin/cluster-port.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { StepTalk, type StepsOptions } from './step-talk.ts';

export class ClusterSteps {
  readonly #options: StepsOptions;
  readonly #talk: StepTalk;

  constructor(options: StepsOptions) {
    this.#options = options;
    this.#talk = new StepTalk(options);
  }

  /** As a learner first, which `votes` makes a voter once it has caught up. */
  async add(id: string, address: string, votes: boolean): Promise<void> {
    for (;;) {
      const view = await this.look();
      const member = memberOf(view, id);
      if (member === undefined) {
        mustBeMember(view);
        const how = 'added as a learner, which gets what the others have';
        await this.#change({ kind: 'add', id, address, votes }, how);
      } else if (isUnderWay(view)) {
        await this.#talk.say(id, 'waiting', 'waits until a majority has the change');
      } else if (member.role === 'voter') {
        return this.#talk.say(id, 'voter', 'is a voter');
      } else if (!votes) {
        return this.#talk.say(id, 'learner', `is a learner${joins(member)}`);
      } else {
        await this.#promote(view, member);
      }
      await this.#talk.pause(id);
    }
  }

  async #promote(view: ReplicaStatus, member: MemberStatus): Promise<void> {
    const { id, address, progress } = member;
    if (await this.#lacksLeader(view, id)) return undefined;
    if (progress?.active !== true) {
      const where = `does not answer at ${visible(address)}: start it, and it goes on`;
      return this.#talk.say(id, 'away', where);
    }
    const { state, match, caughtUp } = progress;
    const fields = { match, last: view.last };
    const how = state === 'catch-up' ? 'gets a checkpoint' : 'catches up';
    const text = `${how}: has entry ${match} of ${view.last}`;
    await this.#talk.tell({ node: id, step: 'catching-up', text, fields });
    if (member.role === 'learner' && caughtUp) {
      await this.#change({ kind: 'promote', id }, 'has caught up, and becomes a voter');
    }
  }

  /** False: it has replicas of other shards, which it has to leave first. */
  async remove(id: string): Promise<boolean> {
    for (;;) {
      const view = await this.look();
      const member = memberOf(view, id);
      if (member === undefined) {
        if (!isUnderWay(view)) {
          await this.#talk.say(id, 'gone', 'is no member');
          return true;
        }
        await this.#talk.say(id, 'waiting', 'waits until a majority has the change');
      } else if (!(await this.#lacksLeader(view, id))) {
        mustKeepMajority(view, id);
        const code = await this.#change({ kind: 'remove', id }, 'removed');
        if (code === 'has-shards') {
          await this.#talk.pause(id);
          return false;
        }
      }
      await this.#talk.pause(id);
    }
  }

  async transfer(to: string): Promise<void> {
    const { cluster } = this.#options;
    let begun = false;
    for (;;) {
      const view = await this.look();
      if (view.leader === to) {
        // It hears that it was chosen, and keeps the lead for a while.
        await cluster.transfer(this.#shard, to);
        return this.#talk.say(to, 'leads', 'leads');
      }
      if (begun && (view.leader === undefined || view.transferTo === to)) {
        await this.#talk.say(to, 'waiting', 'is told to stand for election');
      } else if (!(await this.#lacksLeader(view, to))) {
        if (begun) await this.#talk.say(to, 'again', 'has not taken over: asked again');
        begun = await this.#talk.asked(await cluster.transfer(this.#shard, to), to);
        const from = visible(view.leader ?? '');
        if (begun) await this.#talk.say(to, 'begun', `${from} hands over to it`);
      }
      await this.#talk.pause(to);
    }
  }

  /**
   * Ends when this node has applied what the leader had: what it knows is not older than that. With
   * what the leader knows of the others.
   */
  async current(): Promise<ReplicaStatus> {
    let asked: ReplicaStatus | undefined;
    for (;;) {
      const view = await this.look();
      if (!(await this.#lacksLeader(view, view.id))) {
        // What a former leader had may have been overwritten.
        if (asked?.term !== view.term) asked = view;
        if (view.applied >= (asked.leaderLast ?? 0)) return view;
        await this.#talk.say(view.id, 'waiting', 'waits until it has what the leader has');
      }
      await this.#talk.pause(view.id);
    }
  }

  /** What is known of the shard here, and by its leader where that is reached. */
  async look(): Promise<ReplicaStatus> {
    const status = await this.#options.cluster.status();
    return viewOf(status, this.#shard);
  }

  get #shard(): number {
    return this.#options.shard;
  }

  /** Why not; what passes is asked for again by whoever looks next. */
  async #change(change: MemberChange, done: string): Promise<ClusterRefusal | undefined> {
    const answer = await this.#options.cluster.change(this.#shard, change);
    if (await this.#talk.asked(answer, change.id)) {
      await this.#talk.say(change.id, `${change.kind}-asked`, done);
    }
    return answer.kind === 'refused' ? answer.code : undefined;
  }

  /** Nobody leads, or what the leader knows of the others is not known here. */
  async #lacksLeader(view: ReplicaStatus, id: string): Promise<boolean> {
    const isKnown = view.leader !== undefined && view.leaderLast !== undefined;
    mustBeMember(view);
    if (!isKnown) await this.#talk.say(id, 'waiting', 'waits for a leader that is reached');
    return !isKnown;
  }
}

function viewOf({ node, replicas, elsewhere }: NodeStatus, shard: number): ReplicaStatus {
  const view = [...elsewhere, ...replicas].find((each) => each.shard === shard);
  if (view !== undefined) return view;
  throw new CliError(ExitCode.refused, `${visible(node)} has no shard ${shard} (no-shard)`);
}

/** What a node that waits to be added believes of the others is old, and nobody hears it. */
function mustBeMember(view: ReplicaStatus): void {
  if (view.members.some(({ id }) => id === view.id)) return;
  const text = `${visible(view.id)} is no member: give this command at one that is`;
  throw new CliError(ExitCode.refused, `${text} (not-member)`);
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
