/**
 * The port that the other nodes connect to. It takes connections of TLS 1.3 with a certificate of
 * ours at the other end (or plain ones, where the configuration says so in so many words), and one
 * hello of each stream. Replicas are then sent to, and never heard here: what they have to say
 * comes on the streams that this node opens. A link goes both ways.
 *
 * Whoever is no node of this cluster is closed, counted, and told in the log once in an interval
 * (S10). Its own listener, and not that of gRPC, so that a handshake that fails is seen.
 */

import { once } from 'node:events';
import { type Server as NetServer, type Socket, createServer } from 'node:net';
import { type TLSSocket, createServer as createTlsServer } from 'node:tls';
import { Server, ServerCredentials, type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Logger } from '../telemetry/logger.ts';
import { FrameKind, decodeBatch } from './batch.ts';
import { malformed } from './frame-bytes.ts';
import { type Expected, type Hello, checkHello, readHello } from './hello.ts';
import { identityOf } from './node-identity.ts';
import {
  BATCH_BYTES_MAX,
  CONNECTIONS_MAX,
  HANDSHAKE_MS_MAX,
  HELLO_BYTES_MAX,
  HELLO_MS_MAX,
  IDLE_MS_MAX,
  KEEPALIVE_ANSWER_MS,
  KEEPALIVE_MS,
  REQUEST_BYTES_MAX,
  STREAMS_PER_CONNECTION_MAX,
} from './peer-limits.ts';
import { LINK, PEER_SERVICE, RECEIVE, methodOf, refusalTrailer } from './peer-service.ts';
import type { OnStream, PeerStream, StreamListener } from './peer-stream.ts';
import type { PeerTls } from './peer-tls.ts';
import { PeerError, type RefusalLog } from './refusals.ts';

type Call = ServerDuplexStream<Buffer, Buffer>;

export interface PeerServerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: PeerTls | undefined;
  readonly cluster: string;
  readonly node: string;
  readonly isPeer: (node: string) => boolean;
  readonly onStream: OnStream;
  readonly refusals: RefusalLog;
  readonly log: Logger;
}

/** After a stop, for ends that are on their way. */
const LAST_WORDS_MS = 500;

export class PeerServer {
  readonly #options: PeerServerOptions;
  /** Without TLS: those that have not said a good hello, by address and port of the other end. */
  readonly #unknown = new Set<string>();
  readonly #sockets = new Set<Socket>();
  readonly #calls = new Set<Call>();
  #listener: NetServer | undefined;
  #grpc: Server | undefined;

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
    const grpc = new Server({
      'grpc.max_receive_message_length': REQUEST_BYTES_MAX,
      'grpc.max_send_message_length': BATCH_BYTES_MAX,
      'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION_MAX,
      'grpc.max_connection_idle_ms': IDLE_MS_MAX,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS,
      'grpc.enable_channelz': 0,
    });
    grpc.addService(PEER_SERVICE, {
      Receive: (call: Call) => this.#opened(call, RECEIVE),
      Link: (call: Call) => this.#opened(call, LINK),
    });
    const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
    const accept = (socket: Socket): void => {
      this.#accepted(socket);
      injector.injectConnection(socket);
    };
    const listener = tls === undefined ? createServer(accept) : this.#tlsListener(tls, accept);
    listener.maxConnections = CONNECTIONS_MAX;
    listener.on('drop', (dropped) => {
      const text = `${CONNECTIONS_MAX} connections are open already`;
      this.#refuse(new PeerError('crowded', text), dropped?.remoteAddress);
    });
    listener.listen({ host, port });
    try {
      await once(listener, 'listening');
    } catch (error) {
      grpc.forceShutdown();
      throw error;
    }
    listener.on('error', (error) => log.error({ error }, 'the listener for peers failed'));
    this.#listener = listener;
    this.#grpc = grpc;
  }

  async stop(): Promise<void> {
    const listener = this.#listener;
    const grpc = this.#grpc;
    this.#listener = undefined;
    this.#grpc = undefined;
    if (listener === undefined || grpc === undefined) return;
    const closed = new Promise<void>((resolve) => {
      listener.close(() => resolve());
    });
    for (const call of this.#calls) call.end();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LAST_WORDS_MS);
      grpc.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    grpc.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #tlsListener(tls: PeerTls, accept: (socket: Socket) => void): NetServer {
    const listener = createTlsServer({
      ...tls,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['h2'],
      handshakeTimeout: HANDSHAKE_MS_MAX,
    });
    listener.on('secureConnection', (socket: TLSSocket) => {
      const { remoteAddress } = socket;
      const names = socket.getPeerCertificate().subjectaltname;
      if (identityOf(names) === undefined) {
        const text = 'its certificate names no node: fluxmq cert show tells what it names';
        this.#refuse(new PeerError('identity', text), remoteAddress);
        socket.on('error', () => undefined).destroy();
        return;
      }
      accept(socket);
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

  #accepted(socket: Socket): void {
    const from = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
    this.#sockets.add(socket);
    // With TLS it is a node of ours already, which may have changed its mind.
    if (this.#options.tls === undefined) this.#unknown.add(from);
    // HTTP/2 tells the errors of its session; a socket without a listener would end the process.
    socket.on('error', (error) => this.#options.log.debug({ error, from }, 'a peer connection'));
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (!this.#unknown.delete(from)) return;
      this.#refuse(new PeerError('silent', 'it was closed without a hello'), from);
    });
  }

  #opened(call: Call, method: typeof RECEIVE): void {
    let listener: StreamListener | undefined;
    let over = false;
    const end = (error?: PeerError): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#calls.delete(call);
      listener?.ended();
      if (error === undefined) call.end();
      else this.#turnAway(call, error);
    };
    const timer = setTimeout(
      () => end(new PeerError('silent', `it said nothing within ${HELLO_MS_MAX / 1000} s`)),
      HELLO_MS_MAX,
    );
    this.#calls.add(call);
    call.on('data', (batch: Buffer) => {
      if (over) return;
      try {
        if (listener !== undefined) {
          listener.frames(decodeBatch(batch), batch.length);
          return;
        }
        const hello = this.#greeted(call, batch);
        if (methodOf(hello.channel) !== method) throw malformed('a channel of another method');
        clearTimeout(timer);
        listener = this.#options.onStream(streamOf(call, hello, end));
        // Whoever took it over may have ended it at once.
        if (over) listener.ended();
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        end(error);
      }
    });
    // The other side goes, in order or not.
    call.on('end', () => end());
    call.on('cancelled', () => end());
    call.on('error', () => end());
    call.on('close', () => end());
  }

  /** Throws a `PeerError`. */
  #greeted(call: Call, batch: Buffer): Hello {
    if (batch.length > HELLO_BYTES_MAX) throw malformed('it begins with more than a hello');
    const [frame, ...more] = decodeBatch(batch);
    if (frame?.kind !== FrameKind.hello || more.length > 0) {
      throw malformed('it does not begin with a hello');
    }
    const hello = readHello(frame.body);
    checkHello(hello, {
      cluster: this.#options.cluster,
      self: this.#options.node,
      isPeer: this.#options.isPeer,
      certified: this.#certified(call),
    });
    this.#unknown.delete(call.getPeer());
    return hello;
  }

  #certified(call: Call): Expected['certified'] {
    if (this.#options.tls === undefined) return 'plaintext';
    return identityOf(call.getAuthContext().sslPeerCertificate?.subjectaltname) ?? 'nobody';
  }

  #turnAway(call: Call, error: PeerError): void {
    this.#unknown.delete(call.getPeer());
    this.#refuse(error, call.getPeer());
    const code = status.PERMISSION_DENIED;
    call.emit('error', { code, details: error.message, metadata: refusalTrailer(error) });
  }

  #refuse(error: PeerError, from: string | undefined): void {
    this.#options.refusals.refused(error, from);
  }
}

function streamOf(call: Call, hello: Hello, end: () => void): PeerStream {
  return {
    hello,
    write: (batch, taken) => {
      call.write(batch, (error: Error | null | undefined) => {
        if (error === null || error === undefined) taken();
      });
    },
    end,
  };
}
