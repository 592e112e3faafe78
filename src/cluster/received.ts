/**
 * From the frames of a peer to messages of replicas: each is from a replica of that peer, and for
 * one of this node, or the stream is at its end.
 */

import { type PeerMessage, isBulkMessage } from '#raft';
import { FrameKind, type InFrame } from './batch.ts';
import { malformed, ownBytes } from './frame-bytes.ts';
import type { Channel } from './hello.ts';
import { readMessage } from './message-codec.ts';
import { PeerError } from './refusals.ts';
import { nodeOf } from './server-id.ts';

export interface Received {
  readonly shard: number;
  /** Bytes in it are views, each of which keeps at most twice its frame alive. */
  readonly message: PeerMessage;
}

export interface Between {
  readonly peer: string;
  readonly node: string;
  readonly channel: Channel;
}

/** Throws a `PeerError`. */
export function readReceived({ kind, shard, body }: InFrame, between: Between): Received {
  if (kind !== FrameKind.message) throw malformed(`a frame of kind ${kind}`);
  const isBulk = between.channel === 'bulk';
  const message = readMessage(isBulk ? ownBytes(body) : body);
  // Its bytes would be views of what is read over.
  if (!isBulk && isBulkMessage(message)) throw malformed(`${message.kind} on another channel`);
  if (nodeOf(message.from) !== between.peer) {
    throw new PeerError('identity', `it sends in the name of ${message.from}`);
  }
  if (nodeOf(message.to) !== between.node) {
    throw new PeerError('not-me', `it sends here what is for ${message.to}`);
  }
  return { shard, message };
}
