/**
 * The port that the other nodes connect to. It takes connections of TLS 1.3 with a certificate of
 * ours at the other end (or plain ones, where the configuration says so in so many words), and one
 * hello of each. Replicas are then sent to, and never heard here: what they have to say comes on
 * the streams that this node opens. A link goes both ways.
 *
 * Whoever is no node of this cluster is told why, closed, counted, and told in the log once in an
 * interval (S10). Of a stranger nothing is kept but a batch of the size of a hello.
 */

import { once } from 'node:events';
import { type Server as NetServer, type Socket, createServer } from 'node:net';
import { type TLSSocket, createServer as createTlsServer } from 'node:tls';
import type { Logger } from '../telemetry/logger.ts';
import type { InFrame } from './batch.ts';
import { helloIn, refusalBatch } from './greeting.ts';
import { type Expected, checkHello } from './hello.ts';
import { identityOf } from './node-identity.ts';
import {
  CONNECTIONS_MAX,
  HANDSHAKE_MS_MAX,
  HELLO_BYTES_MAX,
  HELLO_MS_MAX,
  REQUEST_BYTES_MAX,
} from './peer-limits.ts';
import { PeerSocket, type SocketUser } from './peer-socket.ts';
import type { OnStream, StreamListener } from './peer-stream.ts';
import type { PeerTls } from './peer-tls.ts';
import type { Pulse } from './pulse.ts';
import { PeerError, type RefusalLog } from './refusals.ts';

export interface PeerServerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: PeerTls | undefined;
  readonly cluster: string;
  readonly node: string;
  readonly isPeer: (node: string) => boolean;
  readonly onStream: OnStream;
  readonly pulse: Pulse;
  readonly refusals: RefusalLog;
  readonly log: Logger;
}

export class PeerServer {
  readonly #options: PeerServerOptions;
  readonly #visits = new Set<Visit>();
  #listener: NetServer | undefined;

  constructor(options: PeerServerOptions) {
    this.#options = options;
  }

  /** Undefined before the start and after the stop. */
  get address(): { readonly host: string; readonly port: number } | undefined {
    const address = this.#listener?.address();
    if (typeof address !== 'object' || address === null) return undefined;
    return { host: address.address, port: address.port };
  }

  /** Rejects with the error of the system when the address cannot be listened on. */
  async start(): Promise<void> {
    const { host, port, tls, log } = this.#options;
    const listener =
      tls === undefined
        ? createServer((socket) => this.#accepted(socket, 'plaintext'))
        : this.#tlsListener(tls);
    listener.maxConnections = CONNECTIONS_MAX;
    listener.on('drop', (dropped) => {
      const text = `${CONNECTIONS_MAX} connections are open already`;
      this.#refuse(new PeerError('crowded', text), dropped?.remoteAddress);
    });
    listener.listen({ host, port });
    await once(listener, 'listening');
    listener.on('error', (error) => log.error({ error }, 'the listener for peers failed'));
    this.#listener = listener;
  }

  async stop(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener === undefined) return;
    // It is closed when the last of its connections is, which is soon after their end.
    const closed = new Promise<void>((resolve) => {
      listener.close(() => resolve());
    });
    for (const visit of this.#visits) visit.end();
    await closed;
  }

  #tlsListener(tls: PeerTls): NetServer {
    const listener = createTlsServer({
      ...tls,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS_MAX,
    });
    listener.on('secureConnection', (socket: TLSSocket) => {
      const { remoteAddress } = socket;
      const names = socket.getPeerCertificate().subjectaltname;
      const certified = identityOf(names);
      if (certified === undefined) {
        const text = 'its certificate names no node: fluxmq cert show tells what it names';
        this.#refuse(new PeerError('identity', text), remoteAddress);
        socket.on('error', () => undefined).destroy();
        return;
      }
      this.#accepted(socket, certified);
    });
    listener.on('tlsClientError', (error, socket) => {
      // Set where the certificate is at fault; the error is then about the socket that was closed.
      // Node.js has a code there, whatever its types say.
      const code: unknown = socket.authorizationError;
      const why = typeof code === 'string' ? code : error.message;
      const text = `it could not show a certificate of ours: ${why}`;
      this.#refuse(new PeerError('tls', text, { cause: error }), socket.remoteAddress);
    });
    return listener;
  }

  #accepted(socket: Socket, certified: Expected['certified']): void {
    const visit = new Visit(socket, certified, {
      ...this.#options,
      onOver: () => this.#visits.delete(visit),
    });
    this.#visits.add(visit);
  }

  #refuse(error: PeerError, from: string | undefined): void {
    this.#options.refusals.refused(error, from);
  }
}

interface VisitOptions extends PeerServerOptions {
  readonly onOver: () => void;
}

/** One connection that was accepted, from its hello to its end. */
class Visit implements SocketUser {
  readonly #options: VisitOptions;
  readonly #certified: Expected['certified'];
  readonly #from: string;
  readonly #socket: PeerSocket;
  readonly #timer: NodeJS.Timeout;
  #listener: StreamListener | undefined;
  #isOver = false;

  constructor(socket: Socket, certified: Expected['certified'], options: VisitOptions) {
    this.#options = options;
    this.#certified = certified;
    this.#from = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
    this.#socket = new PeerSocket(() => socket, this, options.pulse);
    this.#timer = setTimeout(
      () => this.wrong(new PeerError('silent', `it said nothing within ${HELLO_MS_MAX / 1000} s`)),
      HELLO_MS_MAX,
    );
  }

  /** In order. */
  end(): void {
    this.#socket.end();
    this.#over();
  }

  // --- SocketUser.

  frames(frames: readonly InFrame[], bytes: number): void {
    if (this.#listener === undefined) this.#greeted(frames, bytes);
    else this.#listener.frames(frames, bytes);
  }

  wrong(error: PeerError): void {
    this.#options.refusals.refused(error, this.#from);
    this.#socket.write(refusalBatch(error), () => undefined);
    this.end();
  }

  gone(why: string): void {
    const { log, refusals, tls } = this.#options;
    log.debug({ from: this.#from, why }, 'a peer connection is gone');
    // With TLS it is a node of ours already, which may have changed its mind.
    if (this.#listener === undefined && tls === undefined) {
      refusals.refused(new PeerError('silent', 'it was closed without a hello'), this.#from);
    }
    this.#over();
  }

  /** Throws a `PeerError`. */
  #greeted(frames: readonly InFrame[], bytes: number): void {
    const { cluster, node: self, isPeer, onStream } = this.#options;
    const hello = helloIn(frames, bytes);
    checkHello(hello, { cluster, self, isPeer, certified: this.#certified });
    clearTimeout(this.#timer);
    this.#socket.trust(hello.channel === 'link' ? REQUEST_BYTES_MAX : HELLO_BYTES_MAX);
    this.#listener = onStream({
      hello,
      write: (batch, taken) => this.#socket.write(batch, taken),
      end: () => this.end(),
    });
    // Whoever took it over may have ended it at once.
    if (this.#isOver) this.#listener.ended();
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#listener?.ended();
    this.#options.onOver();
  }
}
