/**
 * Keeps one stream to a peer open: connects, checks who answers, hands on what comes, and opens
 * another one when it ends, with a wait in between that doubles and is drawn from its upper half,
 * so that nodes that lost the same peer do not come back in step.
 *
 * Whatever is wrong with a batch ends the stream before any of it was handed on. A stream is a
 * connection of its own, and its name is looked up anew each time.
 */

import { type OnReadOpts, type Socket, connect } from 'node:net';
import {
  type PeerCertificate,
  type SecureContext,
  connect as connectTls,
  createSecureContext,
} from 'node:tls';
import type { Logger } from '../telemetry/logger.ts';
import type { InFrame } from './batch.ts';
import { malformed } from './frame-bytes.ts';
import { helloBatch, helloIn, refusalIn } from './greeting.ts';
import { type Channel, checkHello } from './hello.ts';
import { identityOf, sameIdentity } from './node-identity.ts';
import {
  BATCH_BYTES_MAX,
  CONNECT_AGAIN_MS_MAX,
  CONNECT_MS_MAX,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  STEADY_MS,
  VERSION_NEWEST,
  VERSION_OLDEST,
} from './peer-limits.ts';
import { PeerSocket, type SocketUser } from './peer-socket.ts';
import type { OnStream, StreamListener } from './peer-stream.ts';
import type { PeerTls } from './peer-tls.ts';
import type { Pulse } from './pulse.ts';
import { PeerError, type PeerRefusal, type RefusalLog } from './refusals.ts';

/** Where a peer is. */
export interface PeerPlace {
  readonly id: string;
  readonly host: string;
  readonly port: number;
}

export interface DialerOptions {
  readonly peer: PeerPlace;
  readonly channel: Channel;
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: number;
  readonly tls: PeerTls | undefined;
  readonly onStream: OnStream;
  readonly pulse: Pulse;
  readonly refusals: RefusalLog;
  readonly log: Logger;
  /** From [0, 1). */
  readonly random: () => number;
}

export class PeerDialer {
  readonly #options: DialerOptions;
  readonly #secure: SecureContext | undefined;
  #attempt: Attempt | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failures = 0;

  constructor(options: DialerOptions) {
    this.#options = options;
    const { tls } = options;
    this.#secure = tls && createSecureContext({ ...tls, minVersion: 'TLSv1.3' });
  }

  get isConnected(): boolean {
    return this.#attempt?.isGreeted === true;
  }

  start(): void {
    this.#dial();
  }

  /** The peer was heard of: no reason to wait any longer. */
  wake(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dial();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#attempt?.leave();
  }

  #dial(): void {
    if (this.#stopped || this.#attempt !== undefined) return;
    this.#attempt = new Attempt(this.#options, this.#secure, (end) => this.#ended(end));
  }

  #ended(end: AttemptEnd): void {
    this.#attempt = undefined;
    if (this.#stopped) return;
    this.#tell(end);
    if ((end.heldMs ?? 0) >= STEADY_MS) this.#failures = 0;
    const longest = end.isConnected ? RECONNECT_MS_MAX : CONNECT_AGAIN_MS_MAX;
    const wait = Math.min(RECONNECT_MS_MIN * 2 ** this.#failures, longest);
    this.#failures += 1;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#dial();
      },
      wait * (0.5 + this.#options.random() / 2),
    );
  }

  /** A peer that is away is told once, and again when it was there in between. */
  #tell({ why, heldMs, refusal }: AttemptEnd): void {
    const { peer, channel, log } = this.#options;
    const told = { peer: peer.id, channel, why, refusal };
    if (heldMs !== undefined) log.info(told, 'a peer stream ended');
    else if (this.#failures === 0) log.warn(told, 'a peer cannot be reached');
    else log.debug(told, 'a peer cannot be reached');
  }
}

interface AttemptEnd {
  readonly why: string;
  /** Since the answer to the hello; undefined where there was none. */
  readonly heldMs: number | undefined;
  /** Somebody listened there. */
  readonly isConnected: boolean;
  /** Why the peer turned this node away. */
  readonly refusal: PeerRefusal | undefined;
}

/** One stream, from its connection to its end. */
class Attempt implements SocketUser {
  readonly #options: DialerOptions;
  readonly #onEnd: (end: AttemptEnd) => void;
  readonly #socket: PeerSocket;
  readonly #timer: NodeJS.Timeout;
  #isConnected = false;
  #greetedAtMs: number | undefined;
  #listener: StreamListener | undefined;
  #isOver = false;

  constructor(
    options: DialerOptions,
    secure: SecureContext | undefined,
    onEnd: (end: AttemptEnd) => void,
  ) {
    this.#options = options;
    this.#onEnd = onEnd;
    this.#socket = new PeerSocket((onread) => this.#open(secure, onread), this, options.pulse);
    this.#timer = setTimeout(
      () => this.#leave({ why: `no answer within ${CONNECT_MS_MAX / 1000} s` }),
      CONNECT_MS_MAX,
    );
  }

  get isGreeted(): boolean {
    return this.#greetedAtMs !== undefined;
  }

  /** In order: the peer hears that it is the end, and no failure. */
  leave(): void {
    this.#socket.end();
    this.#over({ why: 'this node is going' });
  }

  // --- SocketUser.

  frames(frames: readonly InFrame[], bytes: number): void {
    const refused = refusalIn(frames);
    if (refused !== undefined) this.#leave({ why: refused.message, refusal: refused.code });
    else if (this.#listener === undefined) this.#answered(frames, bytes);
    else this.#listener.frames(frames, bytes);
  }

  wrong(error: PeerError): void {
    const { peer, refusals } = this.#options;
    refusals.refused(error, `${peer.id} at ${peer.host}:${peer.port}`);
    this.#leave({ why: error.message });
  }

  gone(why: string): void {
    this.#over({ why });
  }

  #open(secure: SecureContext | undefined, onread: OnReadOpts): Socket {
    const socket = openSocket(this.#options, secure, onread);
    socket.once('connect', () => {
      this.#isConnected = true;
    });
    // Not before who answers was checked by the certificate.
    socket.once(secure === undefined ? 'connect' : 'secureConnect', () => this.#greet());
    return socket;
  }

  #greet(): void {
    const { cluster, node: from, incarnation, peer, channel } = this.#options;
    const versions = { oldest: VERSION_OLDEST, newest: VERSION_NEWEST };
    const hello = { ...versions, channel, incarnation, cluster, from, to: peer.id };
    this.#socket.write(helloBatch(hello), () => undefined);
  }

  #leave(end: AttemptWhy): void {
    this.#socket.destroy();
    this.#over(end);
  }

  #over({ why, refusal }: AttemptWhy): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    const heldMs = this.#greetedAtMs && performance.now() - this.#greetedAtMs;
    this.#listener?.ended();
    this.#onEnd({ why, heldMs, isConnected: this.#isConnected, refusal });
  }

  /** Throws a `PeerError`. */
  #answered(frames: readonly InFrame[], bytes: number): void {
    const { peer, cluster, node, channel, tls } = this.#options;
    const hello = helloIn(frames, bytes);
    checkHello(hello, {
      cluster,
      self: node,
      isPeer: (other) => other === peer.id,
      // Its certificate was held against this name before the first byte was sent.
      certified: tls === undefined ? 'plaintext' : { cluster, node: peer.id },
    });
    if (hello.channel !== channel) throw malformed('it answers for another channel');
    clearTimeout(this.#timer);
    this.#greetedAtMs = performance.now();
    this.#socket.trust(BATCH_BYTES_MAX);
    this.#listener = this.#options.onStream({
      hello,
      write: (batch, taken) => this.#socket.write(batch, taken),
      end: () => {
        this.#socket.end();
        this.#over({ why: 'this node ended it' });
      },
    });
    // Whoever took it over may have ended it at once.
    if (this.#isOver) this.#listener.ended();
  }
}

interface AttemptWhy {
  readonly why: string;
  readonly refusal?: PeerRefusal;
}

/** A name for TLS, which takes no address for one; who answers is checked by its certificate. */
const SERVER_NAME = 'fluxmq-peer';

function openSocket(
  { peer: { id, host, port }, cluster, refusals }: DialerOptions,
  secure: SecureContext | undefined,
  onread: OnReadOpts,
): Socket {
  if (secure === undefined) return connect({ host, port, onread });
  const expected = { cluster, node: id };
  const checkServerIdentity = (_host: string, certificate: PeerCertificate): Error | undefined => {
    const found = identityOf(certificate.subjectaltname);
    if (found !== undefined && sameIdentity(found, expected)) return undefined;
    const whose = found === undefined ? 'no node' : `${found.node} of ${found.cluster}`;
    const text = `it has the certificate of ${whose}, and should be ${id} of ${cluster}`;
    const error = new PeerError('identity', text);
    refusals.refused(error, `${host}:${port}`);
    return error;
  };
  const to = { host, port, onread, servername: SERVER_NAME };
  return connectTls({ ...to, secureContext: secure, checkServerIdentity });
}
