/**
 * A link: opaque batches of bytes between two nodes, in both directions over one stream. The node
 * that opened it uses shards of the other one; what the bytes mean is for the two of them.
 *
 * One object is one life of the link at one of its ends, and both ends see its end. What `send`
 * took arrives once, in the order of all sends, or the link goes down; then nobody knows how much
 * of it arrived. A batch larger than a part goes in parts, and is whole again at the other end.
 */

import { FrameKind, type InFrame, type OutFrame } from './batch.ts';
import { type FrameWriter, malformed, ownBytes } from './frame-bytes.ts';
import type { QueueBounds } from './out-queue.ts';
import { FRAME_BYTES_MAX, PART_BYTES } from './peer-limits.ts';
import { PeerSender } from './peer-sender.ts';
import type { PeerStream, StreamListener } from './peer-stream.ts';

export interface LinkEnd {
  readonly node: string;
  /** Of the other node's process. */
  readonly incarnation: number;
  /** Once it has said no, `room` is called when it would say yes. */
  readonly hasRoom: boolean;
  /**
   * False: refused, because too much waits, and nothing of it was taken; or the link is down.
   * Nobody changes the bytes afterwards. Throws for more than `FRAME_BYTES_MAX`.
   */
  send(shard: number, parts: readonly Uint8Array[]): boolean;
  close(): void;
}

/** Called in turns of its own, never from within a call to the link. */
export interface LinkListener {
  /** The bytes are the listener's. */
  received(shard: number, bytes: Buffer): void;
  /** There is room again, after it was refused. */
  room(): void;
  /** Once, and the last call; not after `close`. */
  down(): void;
}

export type OnLink = (end: LinkEnd) => LinkListener;

export interface LinkUsers {
  /** The link of this node to another one is up. */
  readonly opened: OnLink;
  /** Another node has opened its link to this one. */
  readonly accepted: OnLink;
}

/** What has come of a batch in parts. */
interface Gathered {
  readonly parts: Buffer[];
  bytes: number;
}

interface LinkUse {
  readonly onLink: OnLink;
  /** So many bytes wait, to leave with the next `sender.sendWaiting`. */
  readonly onSend: (bytes: number) => void;
}

export class Link implements LinkEnd, StreamListener {
  readonly node: string;
  readonly incarnation: number;
  readonly sender: PeerSender;
  readonly #stream: PeerStream;
  readonly #use: LinkUse;
  readonly #listener: LinkListener;
  readonly #gathered = new Map<number, Gathered>();
  #gatheredBytes = 0;
  #isDown = false;

  constructor(stream: PeerStream, bounds: QueueBounds, use: LinkUse) {
    const { from, incarnation } = stream.hello;
    this.node = from;
    this.incarnation = incarnation;
    this.#stream = stream;
    this.#use = use;
    this.sender = new PeerSender(bounds, () => {
      if (!this.#isDown) this.#listener.room();
    });
    this.sender.attach(stream);
    this.#listener = use.onLink(this);
  }

  get hasRoom(): boolean {
    return !this.#isDown && this.sender.hasRoom;
  }

  send(shard: number, parts: readonly Uint8Array[]): boolean {
    if (this.#isDown) return false;
    const frames = framesOf(shard, parts);
    const taken = this.sender.pushAll(frames);
    if (taken) this.#use.onSend(frames.reduce((sum, { bytes }) => sum + bytes, 0));
    return taken;
  }

  close(): void {
    if (this.#isDown) return;
    this.#isDown = true;
    this.#stream.end();
  }

  // --- StreamListener.

  frames(frames: readonly InFrame[]): void {
    const wrong = frames.find(({ kind }) => kind !== FrameKind.bytes && kind !== FrameKind.part);
    if (wrong !== undefined) throw malformed(`a frame of kind ${wrong.kind}`);
    // A listener may close the link between two of them.
    for (const frame of frames) if (!this.#isDown) this.#frame(frame);
  }

  ended(): void {
    this.sender.detach(this.#stream);
    this.#gathered.clear();
    if (this.#isDown) return;
    this.#isDown = true;
    this.#listener.down();
  }

  /** Throws a `PeerError`. */
  #frame({ kind, shard, body }: InFrame): void {
    const before = this.#gathered.get(shard);
    if (kind === FrameKind.bytes && before === undefined) {
      this.#listener.received(shard, ownBytes(body));
      return;
    }
    this.#gatheredBytes += body.length;
    if (this.#gatheredBytes > FRAME_BYTES_MAX) throw malformed('parts of more than a whole');
    const gathered = before ?? { parts: [], bytes: 0 };
    gathered.parts.push(ownBytes(body));
    gathered.bytes += body.length;
    if (kind === FrameKind.part) {
      this.#gathered.set(shard, gathered);
      return;
    }
    this.#gathered.delete(shard);
    this.#gatheredBytes -= gathered.bytes;
    this.#listener.received(shard, Buffer.concat(gathered.parts, gathered.bytes));
  }
}

/** One frame where it fits, else as many parts as it needs. */
function framesOf(shard: number, parts: readonly Uint8Array[]): OutFrame[] {
  let left = 0;
  for (const { length } of parts) left += length;
  if (left > FRAME_BYTES_MAX) throw new RangeError(`a batch of ${left} bytes`);
  const frames: OutFrame[] = [];
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const close = (kind: OutFrame['kind']): void => {
    const [content, length] = [pieces, bytes];
    const write = (writer: FrameWriter): void => {
      for (const piece of content) writer.bytes(piece);
    };
    frames.push({ kind, shard, bytes: length, write });
    pieces = [];
    bytes = 0;
  };
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const piece = part.subarray(at, at + PART_BYTES - bytes);
      pieces.push(piece);
      bytes += piece.length;
      at += piece.length;
      left -= piece.length;
      if (bytes === PART_BYTES && left > 0) close(FrameKind.part);
    }
  }
  close(FrameKind.bytes);
  return frames;
}
