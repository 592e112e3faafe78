/** How a scenario shows what servers do: one line for each message, write and change. */

import type { Entry, Message, Persist, Ready, ServerId, SoftState } from '#raft';
import { decode, describe } from '../raft/core/cluster.ts';

export function entryText({ index, term, kind, payload, configuration }: Entry): string {
  if (kind === 'configuration') return `${index}/${term} ${describe(configuration)}`;
  return `${index}/${term} ${kind === 'empty' ? '-' : decode(payload)}`;
}

const listed = (entries: readonly Entry[]): string => `[${entries.map(entryText).join(', ')}]`;

export interface Shown {
  /** Sessions of appends and their replies. */
  readonly sessions: boolean;
  /** Requests and replies of reads are numbered at random: shown without. */
  readonly messages: boolean;
}

/** Without sender and receiver. */
function said(message: Message, shown: Shown): string {
  const session = 'session' in message && shown.sessions ? ` session ${message.session}` : '';
  switch (message.kind) {
    case 'requestVote': {
      const { preVote, transfer, lastLogIndex, lastLogTerm } = message;
      const how = preVote ? 'pre-vote?' : transfer ? 'vote by order?' : 'vote?';
      return `${how} last ${lastLogIndex}/${lastLogTerm}`;
    }
    case 'requestVoteReply': {
      const what = message.preVote ? 'pre-vote' : 'vote';
      return `${what} ${message.voteGranted ? 'granted' : 'refused'}`;
    }
    case 'appendEntries': {
      const { prevLogIndex, prevLogTerm, entries, leaderCommit } = message;
      const after = `after ${prevLogIndex}/${prevLogTerm} ${listed(entries)}`;
      return `append${session} ${after} commit ${leaderCommit}`;
    }
    case 'appendEntriesReply': {
      const { success, matchIndex, rejectedIndex, hintIndex, hintTerm } = message;
      if (success) return `has${session} ${matchIndex}`;
      return `refuses${session} ${rejectedIndex}, try ${hintIndex}/${hintTerm}`;
    }
    case 'heartbeat':
      return `heartbeat${session} commit ${message.leaderCommit} round ${message.round}`;
    case 'heartbeatReply':
      return `hears${session} round ${message.round}`;
    case 'timeoutNow':
      return 'time out now';
    case 'readIndexRequest':
      return 'read index?';
    case 'readIndexReply':
      return message.index === 0 ? 'read index refused' : `read index ${message.index}`;
    case 'repairRequest': {
      const { fromIndex, throughIndex, anchorIndex, anchorTerm } = message;
      return `repair ${fromIndex}..${throughIndex}? anchor ${anchorIndex}/${anchorTerm}`;
    }
    case 'repairReply': {
      const { fromIndex, throughIndex, answer, entries } = message;
      return `repair ${fromIndex}..${throughIndex}: ${answer} ${listed(entries)}`;
    }
  }
}

export function messageText(message: Message, shown: Shown): string {
  return `${message.from}>${message.to} term ${message.term} ${said(message, shown)}`;
}

function writeText({
  token,
  hardState,
  snapshot,
  truncateAfter,
  entries,
  repaired,
}: Persist): string {
  const parts: string[] = [];
  if (hardState !== undefined) {
    parts.push(`term ${hardState.term} vote ${hardState.vote ?? 'none'}`);
    if (hardState.tailLost === true) parts.push('tail lost');
  }
  if (snapshot !== undefined) {
    parts.push(
      `checkpoint ${snapshot.index}/${snapshot.term}${snapshot.keepSuffix ? ', log kept' : ''}`,
    );
  }
  if (truncateAfter !== undefined) parts.push(`cut after ${truncateAfter}`);
  if (entries.length > 0) parts.push(listed(entries));
  if (repaired.length > 0) parts.push(`in place ${listed(repaired)}`);
  return `writes #${token}: ${parts.join('; ')}`;
}

function roleText({ role, term, leader }: SoftState): string {
  switch (role) {
    case 'leader':
      return `leads term ${term}`;
    case 'candidate':
      return `stands in term ${term}`;
    case 'preCandidate':
      return `asks who would vote for it, term ${term}`;
    case 'stopped':
      return 'has stopped';
    case 'follower':
      return leader === undefined
        ? `follows nobody, term ${term}`
        : `follows ${leader}, term ${term}`;
  }
}

/** In the order in which a reader wants it: what it became, wrote, said, and what came of it. */
export function readyLines(id: ServerId, ready: Ready, shown: Shown): string[] {
  const lines: string[] = [];
  if (ready.soft !== undefined) lines.push(`${id} ${roleText(ready.soft)}`);
  const { configuration, commitIndex } = ready;
  if (configuration !== undefined) {
    lines.push(
      `${id} uses ${describe(configuration.configuration)} of entry ${configuration.index}`,
    );
  }
  if (ready.persist !== undefined && shown.messages)
    lines.push(`${id} ${writeText(ready.persist)}`);
  if (shown.messages) lines.push(...ready.send.map((message) => messageText(message, shown)));
  for (const { to } of ready.catchUp) lines.push(`${id} wants a checkpoint for ${to}`);
  if (commitIndex !== undefined) lines.push(`${id} commits ${commitIndex}`);
  if (ready.apply.length > 0) lines.push(`${id} applies ${listed(ready.apply)}`);
  for (const { id: read, index } of ready.reads) {
    lines.push(
      `${id} ${index === undefined ? `refuses read ${read}` : `serves read ${read} at ${index}`}`,
    );
  }
  return lines;
}
