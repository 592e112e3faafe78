/** Messages as a peer would send them, with everything that a test does not care for filled in. */

import type { Entry, Message, ServerId, Term } from '#raft';
import { Cluster, encode } from './cluster.ts';
import type { ClusterOptions, TestServer } from './cluster.ts';

type Of<Kind extends Message['kind']> = Extract<Message, { kind: Kind }>;
type Some<Kind extends Message['kind']> = Partial<Of<Kind>>;

const addressed = { from: 'b', to: 'a', term: 1 } as const;

export function requestVote(some: Some<'requestVote'> = {}): Message {
  const rest = { lastLogIndex: 0, lastLogTerm: 0, preVote: false, transfer: false };
  return { kind: 'requestVote', ...addressed, ...rest, ...some };
}

export function requestVoteReply(some: Some<'requestVoteReply'> = {}): Message {
  const rest = { voteGranted: true, preVote: false, incarnation: '' };
  return { kind: 'requestVoteReply', ...addressed, ...rest, ...some };
}

export function appendEntries(some: Some<'appendEntries'> = {}): Message {
  const rest = { session: 1, prevLogIndex: 0, prevLogTerm: 0, entries: [], leaderCommit: 0 };
  return { kind: 'appendEntries', ...addressed, ...rest, ...some };
}

export function appendEntriesReply(some: Some<'appendEntriesReply'> = {}): Message {
  return {
    kind: 'appendEntriesReply',
    ...addressed,
    session: 1,
    success: true,
    matchIndex: 0,
    rejectedIndex: 0,
    hintIndex: 0,
    hintTerm: 0,
    tailLost: false,
    inReserve: false,
    ...some,
  };
}

export function heartbeat(some: Some<'heartbeat'> = {}): Message {
  return { kind: 'heartbeat', ...addressed, session: 1, leaderCommit: 0, round: 0, ...some };
}

export function heartbeatReply(some: Some<'heartbeatReply'> = {}): Message {
  return { kind: 'heartbeatReply', ...addressed, session: 1, round: 0, inReserve: false, ...some };
}

export function timeoutNow(some: Some<'timeoutNow'> = {}): Message {
  return { kind: 'timeoutNow', ...addressed, ...some };
}

/** An entry of commands. */
export function entry(index: number, term: Term, text = `e${index}`): Entry {
  const payload = encode(text);
  return { index, term, kind: 'commands', payload, configuration: undefined, local: undefined };
}

/** Entries 1, 2, ... of these terms. */
export function entries(...terms: readonly Term[]): Entry[] {
  return terms.map((term, at) => entry(at + 1, term));
}

/** One server of a cluster of three, with this log on its disk, and nobody else up. */
export class Alone {
  readonly cluster: Cluster;
  readonly server: TestServer;

  constructor(terms: readonly Term[] = [], options: ClusterOptions & { term?: Term } = {}) {
    this.cluster = new Cluster({ random: () => () => 0, ...options });
    this.server = this.cluster.server('a');
    for (const { id } of this.cluster.servers) if (id !== 'a') this.cluster.crash(id);
    this.server.disk.entries = entries(...terms);
    this.server.disk.hardState = { term: options.term ?? terms.at(-1) ?? 0, vote: undefined };
    this.restart();
  }

  restart(): void {
    this.cluster.crash('a');
    this.cluster.restart('a');
    this.cluster.network = [];
  }

  get raft(): TestServer['raft'] {
    return this.server.raft;
  }

  get log(): readonly string[] {
    return this.server.log;
  }

  /** Gives it the message, does its writes, and returns what it sent since. */
  step(message: Message): Message[] {
    this.raft.step(message);
    return this.sync();
  }

  /** As `step`, but its writes are not done. */
  stepUnsynced(message: Message): Message[] {
    this.raft.step(message);
    return this.sent();
  }

  sync(): Message[] {
    this.cluster.run('a');
    while (this.cluster.sync('a')) this.cluster.run('a');
    return this.cluster.network.splice(0);
  }

  sent(): Message[] {
    this.cluster.run('a');
    return this.cluster.network.splice(0);
  }

  /** Until it stands for election; returns what it sent, its writes done. */
  timeOut(): Message[] {
    const { term } = this.raft;
    for (let ticks = 0; ticks < 40; ticks += 1) {
      this.raft.tick();
      const sent = this.sync();
      if (this.raft.role === 'preCandidate' || this.raft.term > term) return sent;
    }
    throw new Error('it does not stand');
  }

  /** A candidate of the next term, with pre-votes from the others. */
  campaign(from: ServerId = 'b'): Message[] {
    this.timeOut();
    const term = this.raft.term + 1;
    return this.step(requestVoteReply({ from, preVote: true, term }));
  }

  /** Leader of the next term, by this vote. */
  lead(from: ServerId = 'b'): Message[] {
    this.campaign(from);
    return this.step(requestVoteReply({ from, term: this.raft.term }));
  }
}

/** Those of this kind. */
export function ofKind<Kind extends Message['kind']>(
  messages: readonly Message[],
  kind: Kind,
): Of<Kind>[] {
  return messages.filter((message): message is Of<Kind> => message.kind === kind);
}
