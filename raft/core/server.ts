/**
 * One server and its roles (Raft figure 4): what each message, tick and completion means, and who
 * becomes follower, candidate or leader by it.
 *
 * The parts decide within their subject and change the log; role and term change here alone. The
 * rule for terms stands before everything else: a message of a later term makes a follower of any
 * server (Raft 5.1), but for pre-votes and for candidates that come while a leader is heard from.
 */

import { Applying } from './applying.ts';
import { assert } from './assert.ts';
import { Election } from './election.ts';
import { Fetches } from './fetches.ts';
import { Follower } from './follower.ts';
import { ForwardedReads } from './forwarded-reads.ts';
import { TERM_MAX } from './ids.ts';
import type { ServerId, Term } from './ids.ts';
import { Leading } from './leading.ts';
import { limitsOf } from './limits.ts';
import type { AppendEntries, Heartbeat, Message, RequestVoteReply, TimeoutNow } from './message.ts';
import type { RaftOptions } from './options.ts';
import type { Transferred } from './outcome.ts';
import { Peers } from './peers.ts';
import { Reads } from './reads.ts';
import { Repairs } from './repairs.ts';
import { Replica } from './replica.ts';
import { Replication } from './replication.ts';
import { Survivors } from './survivors.ts';
import { TailRecovery } from './tail-recovery.ts';
import { Transfer } from './transfer.ts';

export class Server {
  readonly replica: Replica;
  readonly peers: Peers;
  readonly fetches = new Fetches();
  readonly election: Election;
  readonly follower: Follower;
  readonly leading: Leading;
  readonly replication: Replication;
  readonly applying: Applying;
  readonly reads: Reads;
  readonly forwardedReads: ForwardedReads;
  readonly transfer: Transfer;
  readonly repairs: Repairs;
  readonly survivors: Survivors;
  readonly #tailRecovery: TailRecovery;
  #heartbeatElapsed = 0;

  constructor(options: RaftOptions) {
    const replica = new Replica(options, limitsOf(options.limits));
    this.replica = replica;
    this.peers = new Peers(replica);
    this.election = new Election(replica);
    this.follower = new Follower(replica, this.election.founding);
    this.transfer = new Transfer(replica, this.peers);
    this.transfer.preferred = options.preferred;
    this.leading = new Leading(replica, this.peers, this.transfer);
    this.replication = new Replication(replica, this.peers, this.fetches);
    this.applying = new Applying(replica, this.fetches);
    this.reads = new Reads(replica, this.peers);
    this.forwardedReads = new ForwardedReads(replica, this.reads);
    this.repairs = new Repairs(replica, this.fetches, this.follower);
    this.survivors = new Survivors(replica);
    this.#tailRecovery = new TailRecovery(replica, this.forwardedReads, this.follower);
  }

  get #isLeader(): boolean {
    return this.replica.role === 'leader';
  }

  // Roles

  #becomeFollower(term: Term, leader: ServerId | undefined): void {
    const { replica } = this;
    const wasLeader = this.#isLeader;
    if (term > replica.term) replica.setTerm(term);
    replica.role = 'follower';
    replica.leader = leader;
    // Whoever leads this term has won it, so the vote does no harm, and it outlives a restart.
    if (leader !== undefined && replica.vote === undefined) replica.setVote(leader);
    if (leader !== undefined && leader === this.transfer.preferred) this.transfer.succeeded();
    if (!wasLeader) return;
    this.leading.end();
    this.reads.refuseAll();
    this.election.resetTimer();
  }

  #preCampaign(): void {
    const { replica, election } = this;
    replica.role = 'preCandidate';
    replica.leader = undefined;
    election.begin(true, false);
    if (election.countOwn() === 'won') this.#campaign(false);
  }

  /** Its own vote counts when it is durable, like any other: see `hardStateDurable`. */
  #campaign(transfer: boolean): void {
    const { replica, election } = this;
    replica.setTerm(replica.term + 1);
    replica.setVote(replica.id);
    replica.role = 'candidate';
    replica.leader = undefined;
    election.resetTimer();
    election.begin(false, transfer);
  }

  #becomeLeader(): void {
    const { replica } = this;
    assert(replica.role === 'candidate', 'only a candidate wins');
    replica.role = 'leader';
    replica.leader = replica.id;
    this.#heartbeatElapsed = 0;
    this.leading.begin(this.election.founding.configuration);
  }

  /** Leadership ends here; the voter with most of the log need not wait for its time-out. */
  #handOver(): void {
    const next = this.peers.mostCurrentVoter;
    if (next !== undefined) this.transfer.timeoutNow(next.id);
    this.#becomeFollower(this.replica.term, undefined);
  }

  // Time

  tick(): void {
    const { replica } = this;
    replica.ticks += 1;
    if (replica.role === 'stopped') return;
    this.survivors.tick();
    this.applying.tick();
    this.forwardedReads.tick();
    this.#tailRecovery.tick();
    if (this.#isLeader) this.#tickLeader();
    else if (this.election.tick()) this.#electionTimeout();
    this.repairs.tick();
  }

  #electionTimeout(): void {
    if (this.election.mayStand) this.#preCampaign();
    else this.#becomeFollower(this.replica.term, undefined);
  }

  #tickLeader(): void {
    if (this.election.isDiskStalled) {
      this.#handOver();
      return;
    }
    if (!this.peers.isQuorumActive) {
      this.#becomeFollower(this.replica.term, undefined);
      return;
    }
    this.#heartbeatElapsed += 1;
    if (this.#heartbeatElapsed >= this.replica.limits.heartbeatTicks) {
      this.#heartbeatElapsed = 0;
      this.replication.sendHeartbeats(this.reads.round);
    }
    const balanceTo = this.transfer.tick();
    if (balanceTo !== undefined) this.transferLeadership(balanceTo);
    this.leading.promoteJoining();
  }

  // Messages

  step(message: Message): void {
    const { replica } = this;
    if (replica.role === 'stopped' || message.to !== replica.id) return;
    if (message.from === replica.id || message.term > TERM_MAX) return;
    this.survivors.hear(message);
    if (message.term > replica.term) {
      if (this.#isLaterTermTaken(message)) this.#dispatch(message);
    } else if (message.term < replica.term) {
      this.#answerEarlierTerm(message);
    } else {
      this.#dispatch(message);
    }
  }

  /** Raft 5.1. Whether the message is to be looked at. */
  #isLaterTermTaken(message: Message): boolean {
    switch (message.kind) {
      case 'requestVote':
        if (message.preVote) return true;
        if (!message.transfer && this.election.hearsFromLeader) return false;
        break;
      case 'requestVoteReply':
        if (message.preVote && message.voteGranted) return true;
        break;
      case 'repairRequest':
        if (this.election.hearsFromLeader) return false;
        break;
      case 'appendEntries':
      case 'heartbeat':
      case 'timeoutNow':
        this.#becomeFollower(message.term, message.from);
        return true;
      default:
        break;
    }
    this.#becomeFollower(message.term, undefined);
    return true;
  }

  /** Whoever is behind learns the term, so that nobody waits for a leader that cannot be. */
  #answerEarlierTerm(message: Message): void {
    switch (message.kind) {
      case 'requestVote':
        this.election.reject(message);
        break;
      case 'appendEntries':
      case 'heartbeat':
        this.follower.rejectStale(message);
        break;
      case 'repairRequest':
      case 'repairReply':
        this.#dispatch(message);
        break;
      default:
        break;
    }
  }

  #dispatch(message: Message): void {
    const { replica } = this;
    switch (message.kind) {
      case 'requestVote':
        this.election.answer(message);
        break;
      case 'requestVoteReply':
        this.#requestVoteReply(message);
        break;
      case 'appendEntries':
        this.#hearLeader(message);
        this.follower.appendEntries(message);
        if (replica.isStranger) this.stop();
        break;
      case 'heartbeat':
        this.#hearLeader(message);
        this.follower.heartbeat(message);
        break;
      case 'appendEntriesReply':
        if (this.#isLeader && this.replication.appendEntriesReply(message)) this.#matchMoved();
        break;
      case 'heartbeatReply':
        if (!this.#isLeader) break;
        this.replication.heartbeatReply(message);
        this.reads.confirm();
        break;
      case 'timeoutNow':
        this.#timeoutNow(message);
        break;
      case 'readIndexRequest':
        this.reads.request(message);
        break;
      case 'readIndexReply':
        this.#tailRecovery.reply(message);
        this.forwardedReads.reply(message);
        break;
      case 'repairRequest':
        this.repairs.answer(message);
        break;
      case 'repairReply':
        this.repairs.reply(message);
        break;
    }
  }

  #requestVoteReply(reply: RequestVoteReply): void {
    const { preVote, voteGranted, term } = reply;
    const { role } = this.replica;
    const { term: current } = this.replica;
    if (preVote) {
      if (role !== 'preCandidate' || (voteGranted && term !== current + 1)) return;
      const tally = this.election.count(reply);
      if (tally === 'won') this.#campaign(false);
      else if (tally === 'lost') this.#becomeFollower(current, undefined);
      return;
    }
    if (role !== 'candidate') return;
    const tally = this.election.count(reply);
    if (tally === 'won') this.#becomeLeader();
    else if (tally === 'lost') this.#becomeFollower(current, undefined);
  }

  /** A leader of this term is there (Raft 5.2). */
  #hearLeader({ from, term }: AppendEntries | Heartbeat): void {
    const { replica } = this;
    assert(!this.#isLeader, 'a term has one leader');
    assert(replica.leader === undefined || replica.leader === from, 'a term has one leader');
    if (replica.leader === undefined) this.#becomeFollower(term, from);
    this.election.heardFromLeader();
  }

  #timeoutNow({ from }: TimeoutNow): void {
    if (this.replica.leader === from && !this.#isLeader && this.election.mayStand) {
      this.#campaign(true);
    }
  }

  // Leadership

  transferLeadership(to: ServerId): Transferred {
    const { role, id, configurations } = this.replica;
    if (role === 'stopped') return { kind: 'refused', code: 'stopped' };
    if (role !== 'leader') return { kind: 'refused', code: 'not-leader' };
    if (this.transfer.to !== undefined) return { kind: 'refused', code: 'transferring' };
    if (to === id) return { kind: 'refused', code: 'already-leader' };
    if (!configurations.isVoter(to)) return { kind: 'refused', code: 'not-voter' };
    this.transfer.start(to);
    return { kind: 'started' };
  }

  /** Some log has become durable further, this server's or a peer's. */
  #matchMoved(): void {
    this.transfer.advance();
    if (!this.leading.advanceCommit()) return;
    if (this.leading.isRemoved) this.#handOver();
  }

  // Completions

  /** Entries of this server's own log have become durable. */
  logDurable(): void {
    if (this.#isLeader) this.#matchMoved();
  }

  /** Term and vote are on the disk: what waited for them goes out, and its own vote counts. */
  hardStateDurable(): void {
    const { replica, election } = this;
    replica.outbox.release(replica.term);
    if (replica.role !== 'candidate' || replica.vote !== replica.id) return;
    if (election.countOwn() === 'won') this.#becomeLeader();
  }

  /** Nothing is written any more, so nothing is promised any more. */
  stop(): void {
    const { replica } = this;
    if (replica.role === 'stopped') return;
    if (this.#isLeader) this.#handOver();
    replica.role = 'stopped';
    replica.leader = undefined;
    replica.outbox.dropHeld();
    this.forwardedReads.send();
    this.reads.refuseConfirmed();
  }

  /** Damage was found: who cannot read its log neither leads nor stands any more. */
  damaged(): void {
    const { role, term, isSoleVoter } = this.replica;
    if (isSoleVoter || role === 'stopped' || role === 'follower') return;
    if (role === 'leader') this.#handOver();
    else this.#becomeFollower(term, undefined);
  }

  /** A later term was seen outside of messages. */
  observeTerm(term: Term): void {
    const { role, term: current } = this.replica;
    if (role !== 'stopped' && term > current) this.#becomeFollower(term, undefined);
  }

  /** Of a term that nobody else can have begun with its vote: see `Raft.rescue`. */
  beginRescue(): void {
    const { replica } = this;
    this.#becomeFollower(replica.term + 1, undefined);
    replica.setVote(replica.id);
  }

  /** Here if this server leads, by way of its leader if not. */
  readIndex(id: number): void {
    const { role, leader } = this.replica;
    if (role === 'leader') this.reads.ask({ id, from: undefined });
    else if (role === 'stopped' || leader === undefined) this.reads.refuse(id);
    else this.forwardedReads.ask(id);
  }

  /** What has to be done once before each `Ready`. */
  prepare(): void {
    if (this.replica.role === 'stopped') return;
    this.forwardedReads.send();
    if (this.#isLeader) {
      if (this.reads.beginRound()) this.replication.sendHeartbeats(this.reads.round);
      this.replication.sendAppends();
      return;
    }
    this.#tailRecovery.settle();
    this.follower.acknowledge();
  }
}
