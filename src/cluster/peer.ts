/**
 * One other node: the streams that this node receives from it by, and what goes out to it. Both
 * directions are independent: a stream that ends says nothing of the others, and Raft takes a peer
 * that hears and does not speak.
 */

import type { Logger } from '../telemetry/logger.ts';
import { malformed } from './frame-bytes.ts';
import type { Channel, Hello } from './hello.ts';
import { Link, type LinkUsers, type OnLink } from './link.ts';
import type { QueueBounds } from './out-queue.ts';
import { PeerDialer, type PeerPlace } from './peer-dialer.ts';
import { BULK_FRAMES_MAX, CONTROL_BYTES_MAX, CONTROL_FRAMES_MAX } from './peer-limits.ts';
import { PeerSender, type SenderStats } from './peer-sender.ts';
import type { OnStream, PeerStream, StreamListener } from './peer-stream.ts';
import type { PeerTls } from './peer-tls.ts';
import type { Pulse } from './pulse.ts';
import { type Received, readReceived } from './received.ts';
import type { RefusalLog } from './refusals.ts';

export interface PeerOptions {
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: number;
  readonly tls: PeerTls | undefined;
  readonly backlogBytes: number;
  readonly pulse: Pulse;
  readonly refusals: RefusalLog;
  readonly log: Logger;
  readonly random: () => number;
  readonly onReceived: (batch: readonly Received[]) => void;
  /** There is room for bulk again. */
  readonly onRoom: () => void;
  /** So many bytes wait on a link, to leave with the next `sendWaiting`. */
  readonly onSend: (bytes: number) => void;
}

/** For people and for health. */
export interface PeerState {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Both channels are open: from this node to that one, and the other way. */
  readonly sending: boolean;
  readonly receiving: boolean;
  /** Of its process, once it was heard of. */
  readonly incarnation: number | undefined;
}

export class Peer {
  readonly control: PeerSender;
  readonly bulk: PeerSender;
  readonly received: SenderStats = { frames: 0, bytes: 0, batches: 0 };
  readonly #place: PeerPlace;
  readonly #options: PeerOptions;
  readonly #dialers: readonly PeerDialer[];
  /** That the peer has opened. */
  readonly #streams = new Set<PeerStream>();
  readonly #links = new Set<Link>();
  #linkDialer: PeerDialer | undefined;
  /** By links that have ended. */
  readonly #sentBefore: SenderStats = { frames: 0, bytes: 0, batches: 0 };
  #droppedBefore = 0;
  #incarnation: number | undefined;

  constructor(place: PeerPlace, options: PeerOptions) {
    this.#place = place;
    this.#options = options;
    this.control = new PeerSender(
      { framesMax: CONTROL_FRAMES_MAX, bytesMax: CONTROL_BYTES_MAX, whenFull: 'drop-oldest' },
      () => undefined,
    );
    this.bulk = new PeerSender(this.#backlog, options.onRoom);
    this.#dialers = (['control', 'bulk'] as const).map((channel) =>
      this.#dialer(channel, (stream) => this.#receiving(stream)),
    );
  }

  get state(): PeerState {
    return {
      ...this.#place,
      sending: this.control.isConnected && this.bulk.isConnected,
      receiving: this.#dialers.every((dialer) => dialer.isConnected),
      incarnation: this.#incarnation,
    };
  }

  get #senders(): PeerSender[] {
    return [this.control, this.bulk, ...[...this.#links].map(({ sender }) => sender)];
  }

  get sent(): SenderStats {
    const total: SenderStats = { ...this.#sentBefore };
    for (const { stats } of this.#senders) add(total, stats);
    return total;
  }

  get dropped(): number {
    return this.#senders.reduce((total, { dropped }) => total + dropped, this.#droppedBefore);
  }

  get waitingBytes(): number {
    return this.#senders.reduce((total, { waitingBytes }) => total + waitingBytes, 0);
  }

  isAt(place: PeerPlace | undefined): boolean {
    return place?.host === this.#place.host && place.port === this.#place.port;
  }

  start(): void {
    for (const dialer of this.#dialers) dialer.start();
  }

  stop(): void {
    for (const dialer of this.#dialers) dialer.stop();
    this.#linkDialer?.stop();
    for (const stream of this.#streams) stream.end();
  }

  /** From now on a link to it is kept open. */
  link({ opened }: LinkUsers): void {
    this.#linkDialer = this.#dialer('link', (stream) => this.#linked(stream, opened));
    this.#linkDialer.start();
  }

  /** The peer has opened a stream. */
  opened(stream: PeerStream, users: LinkUsers | undefined): StreamListener {
    this.#greeted(stream.hello);
    const { channel } = stream.hello;
    // A newer link takes the place of an older one, as a sender's newer stream does.
    for (const older of this.#streams) {
      if (channel === 'link' && older.hello.channel === channel) older.end();
    }
    this.#streams.add(stream);
    // It is there: no reason to wait before it is connected to.
    for (const dialer of this.#dialers) dialer.wake();
    this.#linkDialer?.wake();
    const listener =
      channel === 'link' && users !== undefined
        ? this.#linked(stream, users.accepted)
        : this.#sendingTo(stream, channel === 'control' ? this.control : this.bulk);
    return {
      frames: (frames, bytes) => listener.frames(frames, bytes),
      ended: () => {
        this.#streams.delete(stream);
        listener.ended();
      },
    };
  }

  sendWaiting(): void {
    this.control.sendWaiting();
    this.bulk.sendWaiting();
    for (const { sender } of this.#links) sender.sendWaiting();
  }

  #greeted({ incarnation }: Hello): void {
    if (this.#incarnation !== undefined && this.#incarnation !== incarnation) {
      this.#options.log.info({ peer: this.#place.id }, 'a peer was started anew');
    }
    this.#incarnation = incarnation;
  }

  #sendingTo(stream: PeerStream, sender: PeerSender): StreamListener {
    sender.attach(stream);
    return {
      frames: () => {
        throw malformed('more than a hello');
      },
      ended: () => sender.detach(stream),
    };
  }

  #receiving({ hello }: PeerStream): StreamListener {
    const { channel, from: peer } = hello;
    this.#greeted(hello);
    return {
      frames: (frames, bytes) => {
        const between = { peer, node: this.#options.node, channel };
        const batch = frames.map((frame) => readReceived(frame, between));
        this.#count(batch.length, bytes);
        this.#options.onReceived(batch);
      },
      ended: () => undefined,
    };
  }

  #linked(stream: PeerStream, onLink: OnLink): StreamListener {
    this.#greeted(stream.hello);
    const link = new Link(stream, this.#backlog, { onLink, onSend: this.#options.onSend });
    this.#links.add(link);
    return {
      frames: (frames, bytes) => {
        this.#count(frames.length, bytes);
        link.frames(frames);
      },
      ended: () => {
        link.ended();
        this.#links.delete(link);
        add(this.#sentBefore, link.sender.stats);
        this.#droppedBefore += link.sender.dropped;
      },
    };
  }

  #count(frames: number, bytes: number): void {
    this.received.frames += frames;
    this.received.bytes += bytes;
    this.received.batches += 1;
  }

  get #backlog(): QueueBounds {
    const { backlogBytes: bytesMax } = this.#options;
    return { framesMax: BULK_FRAMES_MAX, bytesMax, whenFull: 'refuse' };
  }

  #dialer(channel: Channel, onStream: OnStream): PeerDialer {
    return new PeerDialer({
      ...this.#options,
      peer: this.#place,
      channel,
      onStream: (stream) => {
        this.#options.log.info({ peer: this.#place.id, channel }, 'a peer stream is open');
        return onStream(stream);
      },
    });
  }
}

function add(total: SenderStats, more: SenderStats): void {
  total.frames += more.frames;
  total.bytes += more.bytes;
  total.batches += more.batches;
}
