/**
 * One other node: the streams that this node receives from it by, and what goes out to it. Both
 * directions are independent: a stream that ends says nothing of the others, and Raft takes a peer
 * that hears and does not speak.
 */

import type { Logger } from '../telemetry/logger.ts';
import { CHANNELS, type Channel, type Hello } from './hello.ts';
import { PeerDialer, type PeerPlace, type Received } from './peer-dialer.ts';
import { BULK_FRAMES_MAX, CONTROL_BYTES_MAX, CONTROL_FRAMES_MAX } from './peer-limits.ts';
import { PeerSender, type SenderStats } from './peer-sender.ts';
import type { Receiver } from './peer-server.ts';
import type { PeerTls } from './peer-tls.ts';
import type { RefusalLog } from './refusals.ts';

export interface PeerOptions {
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: number;
  readonly tls: PeerTls | undefined;
  readonly backlogBytes: number;
  readonly refusals: RefusalLog;
  readonly log: Logger;
  readonly random: () => number;
  readonly onReceived: (batch: readonly Received[]) => void;
  /** There is room for bulk again. */
  readonly onRoom: () => void;
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
  readonly #receivers = new Set<Receiver>();
  #incarnation: number | undefined;

  constructor(place: PeerPlace, options: PeerOptions) {
    this.#place = place;
    this.#options = options;
    this.control = new PeerSender(
      { framesMax: CONTROL_FRAMES_MAX, bytesMax: CONTROL_BYTES_MAX, whenFull: 'drop-oldest' },
      () => undefined,
    );
    this.bulk = new PeerSender(
      { framesMax: BULK_FRAMES_MAX, bytesMax: options.backlogBytes, whenFull: 'refuse' },
      options.onRoom,
    );
    this.#dialers = CHANNELS.map((channel) => this.#dialer(channel));
  }

  get state(): PeerState {
    return {
      ...this.#place,
      sending: this.control.isConnected && this.bulk.isConnected,
      receiving: this.#dialers.every((dialer) => dialer.isConnected),
      incarnation: this.#incarnation,
    };
  }

  get sent(): SenderStats {
    const [one, other] = [this.control.stats, this.bulk.stats];
    return {
      frames: one.frames + other.frames,
      bytes: one.bytes + other.bytes,
      batches: one.batches + other.batches,
    };
  }

  get dropped(): number {
    return this.control.dropped + this.bulk.dropped;
  }

  get waitingBytes(): number {
    return this.control.waitingBytes + this.bulk.waitingBytes;
  }

  isAt(place: PeerPlace | undefined): boolean {
    return place?.host === this.#place.host && place.port === this.#place.port;
  }

  start(): void {
    for (const dialer of this.#dialers) dialer.start();
  }

  stop(): void {
    for (const dialer of this.#dialers) dialer.stop();
    for (const receiver of this.#receivers) receiver.end();
  }

  /** The peer has opened a stream; gives what is to be done when it is gone. */
  attach(receiver: Receiver): () => void {
    const { hello } = receiver;
    const sender = hello.channel === 'control' ? this.control : this.bulk;
    this.#greeted(hello);
    this.#receivers.add(receiver);
    sender.attach(receiver);
    // It is there: no reason to wait before it is connected to.
    for (const dialer of this.#dialers) dialer.wake();
    return () => {
      this.#receivers.delete(receiver);
      sender.detach(receiver);
    };
  }

  sendWaiting(): void {
    this.control.sendWaiting();
    this.bulk.sendWaiting();
  }

  #greeted({ incarnation }: Hello): void {
    if (this.#incarnation !== undefined && this.#incarnation !== incarnation) {
      this.#options.log.info({ peer: this.#place.id }, 'a peer was started anew');
    }
    this.#incarnation = incarnation;
  }

  #dialer(channel: Channel): PeerDialer {
    return new PeerDialer({
      ...this.#options,
      peer: this.#place,
      channel,
      onReceived: (batch, bytes) => {
        this.received.frames += batch.length;
        this.received.bytes += bytes;
        this.received.batches += 1;
        this.#options.onReceived(batch);
      },
      onState: (hello) => {
        if (hello === undefined) return;
        this.#greeted(hello);
        const told = { peer: this.#place.id, channel };
        this.#options.log.info(told, 'a peer stream is open');
      },
    });
  }
}
