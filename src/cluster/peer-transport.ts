/**
 * The network between the nodes as replicas see it (`Network` of `#raft`): messages of many shards
 * on two streams for each peer and direction, votes and heartbeats apart from bulk.
 *
 * A node opens the streams that it receives by, and sends on those that its peers opened. What is
 * sent from one callback of the loop leaves behind it, as one batch for each peer and
 * channel, unless it is much: then it waits for more until the end of the loop's turn. Messages may
 * be lost at any time, and never changed; what comes from a stranger is never heard.
 */

import { isBulkMessage } from '#raft';
import type { Network, NetworkListener, PeerMessage, ServerId } from '#raft';
import type { Logger } from '../telemetry/logger.ts';
import { FrameKind } from './batch.ts';
import { helloBatch } from './greeting.ts';
import { type Hello, commonVersion } from './hello.ts';
import { messageBytes, writeMessage } from './message-codec.ts';
import { Peer, type PeerState } from './peer.ts';
import type { LinkUsers } from './link.ts';
import type { PeerPlace } from './peer-dialer.ts';
import { FRAME_BYTES_MAX, SENT_AT_ONCE_BYTES_MAX } from './peer-limits.ts';
import { PeerServer } from './peer-server.ts';
import type { PeerStream, StreamListener } from './peer-stream.ts';
import type { PeerTls } from './peer-tls.ts';
import { Pulse } from './pulse.ts';
import type { Received } from './received.ts';
import { PEER_REFUSALS, RefusalLog } from './refusals.ts';
import { nodeOf } from './server-id.ts';

export interface PeerTransportOptions {
  readonly cluster: string;
  readonly node: string;
  /** Another number at each start, at most 2^53 - 1. */
  readonly incarnation: number;
  readonly listen: { readonly host: string; readonly port: number };
  /** Undefined: nothing is protected, and everybody is believed. */
  readonly tls: PeerTls | undefined;
  /** Bulk that waits for one peer. */
  readonly backlogBytes: number;
  readonly log: Logger;
  /** From [0, 1). */
  readonly random: () => number;
}

/** The network of one replica, until it is closed. */
export interface ReplicaNetwork extends Network {
  close(): void;
}

/** What replicas, and those who look after them, need of it. */
export type ReplicaPeers = Pick<PeerTransport, 'network' | 'link' | 'setPeers' | 'peers'>;

interface Replica {
  readonly self: ServerId;
  /** Who was told that there is no room. */
  readonly waiting: Set<ServerId>;
  listener: NetworkListener | undefined;
}

export class PeerTransport {
  readonly #options: PeerTransportOptions;
  readonly #refusals: RefusalLog;
  readonly #pulse = new Pulse();
  readonly #server: PeerServer;
  readonly #peers = new Map<string, Peer>();
  /** By shard. */
  readonly #replicas = new Map<number, Replica>();
  #turn: NodeJS.Immediate | undefined;
  #isBehindCallback = false;
  readonly #turnEnded = (): void => {
    this.#turn = undefined;
    this.#sendWaiting();
  };
  readonly #callbackEnded = (): void => {
    this.#isBehindCallback = false;
    this.#sendWaiting();
  };
  #users: LinkUsers | undefined;
  #isRunning = false;
  #strayed = 0;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
    this.#refusals = new RefusalLog(options.log, () => performance.now());
    const { cluster, node, listen, tls, log } = options;
    this.#server = new PeerServer({
      ...listen,
      tls,
      cluster,
      node,
      isPeer: (other) => this.#peers.has(other),
      onStream: (stream) => this.#opened(stream),
      pulse: this.#pulse,
      refusals: this.#refusals,
      log,
    });
  }

  /** Where it listens; undefined before the start and after the stop. */
  get address(): { readonly host: string; readonly port: number } | undefined {
    return this.#server.address;
  }

  get peers(): PeerState[] {
    return [...this.#peers.values()].map((peer) => peer.state);
  }

  /** Rejects with the error of the system when the address cannot be listened on. */
  async start(): Promise<void> {
    await this.#server.start();
    this.#isRunning = true;
    for (const peer of this.#peers.values()) this.#begin(peer);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    for (const peer of this.#peers.values()) peer.stop();
    await this.#server.stop();
  }

  /**
   * All nodes of the cluster; this one may be among them. Streams of those that are not, or not
   * there any more, end.
   */
  setPeers(places: readonly PeerPlace[]): void {
    const wanted = new Map(places.map((place) => [place.id, place]));
    wanted.delete(this.#options.node);
    for (const [id, peer] of this.#peers) {
      if (peer.isAt(wanted.get(id))) continue;
      this.#peers.delete(id);
      peer.stop();
    }
    for (const [id, place] of wanted) {
      if (this.#peers.has(id)) continue;
      const peer = new Peer(place, {
        ...this.#options,
        pulse: this.#pulse,
        refusals: this.#refusals,
        onReceived: (batch) => this.#received(batch),
        onRoom: () => this.#room(id),
        onSend: (bytes) => this.#sendSoon(bytes),
      });
      this.#peers.set(id, peer);
      if (this.#isRunning) this.#begin(peer);
    }
  }

  /** Once: from now on links are kept open to all peers, and taken from them. */
  link(users: LinkUsers): void {
    if (this.#users !== undefined) throw new Error('links have their users already');
    this.#users = users;
    if (!this.#isRunning) return;
    for (const peer of this.#peers.values()) peer.link(users);
  }

  /** For the replica `self` of a shard; one at a time. */
  network(shard: number, self: ServerId): ReplicaNetwork {
    if (this.#replicas.has(shard)) throw new Error(`shard ${shard} has a network already`);
    const replica: Replica = { self, waiting: new Set(), listener: undefined };
    this.#replicas.set(shard, replica);
    return {
      send: (message) => this.#send(shard, replica, message),
      hasRoom: (to) => {
        const room = this.#peers.get(nodeOf(to))?.bulk.hasRoom === true;
        if (!room) replica.waiting.add(to);
        return room;
      },
      listen: (listener) => {
        replica.listener = listener;
      },
      close: () => {
        if (this.#replicas.get(shard) === replica) this.#replicas.delete(shard);
      },
    };
  }

  /** Plain numbers by name, for all peers together. */
  *stats(): Iterable<readonly [name: string, value: number]> {
    const sum = (of: (peer: Peer) => number): number =>
      [...this.#peers.values()].reduce((total, peer) => total + of(peer), 0);
    yield ['peers/known', this.#peers.size];
    yield ['peers/sending', sum(({ state }) => Number(state.sending))];
    yield ['peers/receiving', sum(({ state }) => Number(state.receiving))];
    yield ['peers/waiting-bytes', sum(({ waitingBytes }) => waitingBytes)];
    yield ['peer-frames/sent', sum(({ sent }) => sent.frames)];
    yield ['peer-frames/received', sum(({ received }) => received.frames)];
    yield ['peer-frames/dropped', sum(({ dropped }) => dropped)];
    yield ['peer-frames/strayed', this.#strayed];
    yield ['peer-bytes/sent', sum(({ sent }) => sent.bytes)];
    yield ['peer-bytes/received', sum(({ received }) => received.bytes)];
    yield ['peer-batches/sent', sum(({ sent }) => sent.batches)];
    yield ['peer-batches/received', sum(({ received }) => received.batches)];
    for (const code of PEER_REFUSALS) yield [`peer-refused/${code}`, this.#refusals.count(code)];
  }

  #begin(peer: Peer): void {
    peer.start();
    if (this.#users !== undefined) peer.link(this.#users);
  }

  #send(shard: number, replica: Replica, message: PeerMessage): boolean {
    const peer = this.#peers.get(nodeOf(message.to));
    if (peer === undefined) return false;
    const bytes = messageBytes(message);
    const sender = isBulkMessage(message) ? peer.bulk : peer.control;
    const write = writeMessage.bind(undefined, message);
    const fits = bytes <= FRAME_BYTES_MAX;
    const taken = fits && sender.push({ kind: FrameKind.message, shard, bytes, write });
    if (taken) this.#sendSoon(bytes);
    else replica.waiting.add(message.to);
    return taken;
  }

  /**
   * A small entry, or an acknowledgement, is waited for at the other end: it is not kept until the
   * loop has heard all others. Of large ones there are many, and a message for each is dear.
   */
  #sendSoon(bytes: number): void {
    if (bytes > SENT_AT_ONCE_BYTES_MAX) {
      this.#turn ??= setImmediate(this.#turnEnded);
    } else if (!this.#isBehindCallback) {
      this.#isBehindCallback = true;
      process.nextTick(this.#callbackEnded);
    }
  }

  #sendWaiting(): void {
    for (const peer of this.#peers.values()) peer.sendWaiting();
  }

  #received(batch: readonly Received[]): void {
    for (const { shard, message } of batch) {
      const replica = this.#replicas.get(shard);
      if (replica !== undefined && replica.self === message.to) {
        replica.listener?.received(message);
        continue;
      }
      // For a replica that is gone, or was replaced by one that has another name.
      this.#strayed += 1;
      replica?.listener?.strayed?.(message);
    }
  }

  #room(node: string): void {
    for (const { waiting, listener } of this.#replicas.values()) {
      for (const to of waiting) {
        if (nodeOf(to) !== node) continue;
        waiting.delete(to);
        listener?.room(to);
      }
    }
  }

  #opened(stream: PeerStream): StreamListener {
    const { hello } = stream;
    const peer = this.#peers.get(hello.from);
    if (peer === undefined) throw new Error(`${hello.from} was taken for a peer`);
    if (hello.channel === 'link' && this.#users === undefined) {
      // Nobody is here yet who could use it: it is asked for again.
      queueMicrotask(() => stream.end());
      return { frames: () => undefined, ended: () => undefined };
    }
    stream.write(answerTo(hello, this.#options), () => undefined);
    return peer.opened(stream, this.#users);
  }
}

function answerTo(hello: Hello, { node, incarnation }: PeerTransportOptions): Buffer {
  const version = commonVersion(hello);
  const answer = { oldest: version, newest: version, incarnation, from: node, to: hello.from };
  return helloBatch({ ...hello, ...answer });
}
