/**
 * Keeps one stream to a peer open: opens it, checks who answers, hands on what comes, and opens
 * another one when it ends, with a wait in between that doubles and is drawn from its
 * upper half, so that nodes that lost the same peer do not come back in step.
 *
 * Whatever is wrong with a batch ends the stream before any of it was handed on. Connections are
 * gRPC's affair, which comes back to an address that refuses by its own, short waits; one that does
 * not answer in time is given up here.
 */

import { isIPv6 } from 'node:net';
import { type PeerCertificate, createSecureContext } from 'node:tls';
import {
  type ChannelCredentials as Credentials,
  type ChannelOptions,
  type ClientDuplexStream,
  type StatusObject,
  ChannelCredentials,
  Client,
  Metadata,
  connectivityState,
  credentials,
} from '@grpc/grpc-js';
import type { Logger } from '../telemetry/logger.ts';
import { type InFrame, FrameKind, decodeBatch, encodeBatch } from './batch.ts';
import { malformed } from './frame-bytes.ts';
import { type Channel, type Hello, checkHello, helloBytes, readHello } from './hello.ts';
import { writeHello } from './hello.ts';
import { identityOf, sameIdentity } from './node-identity.ts';
import {
  BATCH_BYTES_MAX,
  BULK_WINDOW_BYTES,
  CONNECT_AGAIN_MS_MAX,
  CONNECT_MS_MAX,
  HELLO_BYTES_MAX,
  KEEPALIVE_ANSWER_MS,
  KEEPALIVE_MS,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  REQUEST_BYTES_MAX,
  RESOLVE_MS_MIN,
  STEADY_MS,
  VERSION_NEWEST,
  VERSION_OLDEST,
} from './peer-limits.ts';
import { methodOf, refusalIn } from './peer-service.ts';
import type { OnStream, StreamListener } from './peer-stream.ts';
import type { PeerTls } from './peer-tls.ts';
import { PeerError, type RefusalLog } from './refusals.ts';

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
  readonly refusals: RefusalLog;
  readonly log: Logger;
  /** From [0, 1). */
  readonly random: () => number;
}

export class PeerDialer {
  readonly #options: DialerOptions;
  readonly #credentials: Credentials;
  #client: Client | undefined;
  #attempt: Attempt | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failures = 0;

  constructor(options: DialerOptions) {
    this.#options = options;
    this.#credentials = credentialsFor(options);
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
    this.#client?.close();
  }

  #dial(): void {
    if (this.#stopped || this.#attempt !== undefined) return;
    this.#client ??= newClient(this.#options, this.#credentials);
    // The first one is to tell what is wrong; the others wait until the connection is there.
    const patient = this.#failures > 0;
    this.#attempt = new Attempt(this.#options, this.#client, {
      patient,
      onEnd: (end) => this.#ended(end),
    });
  }

  #ended(end: AttemptEnd): void {
    const { heldMs } = end;
    this.#attempt = undefined;
    if (this.#stopped) return;
    this.#tell(end);
    if ((heldMs ?? 0) >= STEADY_MS) this.#failures = 0;
    const failures = this.#failures;
    this.#failures += 1;
    if (end.isLate) {
      if (this.#connectsByItself) {
        this.#dial();
        return;
      }
      // An answer that was lost once may be for long; that to a new connection is not.
      this.#client?.close();
      this.#client = undefined;
    }
    const wait = Math.min(RECONNECT_MS_MIN * 2 ** failures, RECONNECT_MS_MAX);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#dial();
      },
      wait * (0.5 + this.#options.random() / 2),
    );
  }

  /**
   * gRPC waits until it tries to connect again. Such a client is better not closed: it would still
   * make one more connection, for nobody.
   */
  get #connectsByItself(): boolean {
    const state = this.#client?.getChannel().getConnectivityState(false);
    return state === connectivityState.TRANSIENT_FAILURE;
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
  /** There was no answer in time. */
  readonly isLate: boolean;
  /** Why the peer turned this node away. */
  readonly refusal: string | undefined;
}

interface AttemptOptions {
  /** Wait for a connection, instead of failing where there is none. */
  readonly patient: boolean;
  readonly onEnd: (end: AttemptEnd) => void;
}

/** One stream, from its hello to its end. */
class Attempt {
  readonly #options: DialerOptions;
  readonly #onEnd: (end: AttemptEnd) => void;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #timer: NodeJS.Timeout;
  #greetedAtMs: number | undefined;
  #listener: StreamListener | undefined;
  #isOver = false;

  constructor(options: DialerOptions, client: Client, { patient, onEnd }: AttemptOptions) {
    this.#options = options;
    this.#onEnd = onEnd;
    const { path, requestSerialize, responseDeserialize } = methodOf(options.channel);
    const metadata = new Metadata({ waitForReady: patient });
    const call = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadata,
    );
    this.#call = call;
    this.#timer = setTimeout(
      () => this.#over({ why: `no answer within ${CONNECT_MS_MAX / 1000} s`, isLate: true }),
      CONNECT_MS_MAX,
    );
    call.on('data', (batch: Buffer) => this.#batch(batch));
    // What ended it is told by the status, which comes behind both.
    call.on('error', () => undefined);
    call.on('status', (status: StatusObject) => this.#status(status));
    call.write(helloBatch(options));
  }

  get isGreeted(): boolean {
    return this.#greetedAtMs !== undefined;
  }

  /** In order: the peer hears that it is the end, and no failure. */
  leave(): void {
    this.#call.end();
    this.#over({ why: 'this node is going' });
  }

  #status({ details, metadata }: StatusObject): void {
    const refusal = refusalIn(metadata);
    const why = details === '' || details === 'OK' ? 'the peer ended it' : details;
    this.#over({ why, refusal });
  }

  #over({ why, refusal, isLate = false }: Partial<AttemptEnd> & { readonly why: string }): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#call.cancel();
    const heldMs = this.#greetedAtMs && performance.now() - this.#greetedAtMs;
    this.#listener?.ended();
    this.#onEnd({ why, heldMs, isLate, refusal });
  }

  #batch(batch: Buffer): void {
    if (this.#isOver) return;
    try {
      const frames = decodeBatch(batch);
      if (this.#listener === undefined) this.#answered(frames, batch.length);
      else this.#listener.frames(frames, batch.length);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      const { peer, refusals } = this.#options;
      refusals.refused(error, `${peer.id} at ${peer.host}:${peer.port}`);
      this.#over({ why: error.message });
    }
  }

  /** Throws a `PeerError`. */
  #answered([frame, ...more]: readonly InFrame[], bytes: number): void {
    if (frame?.kind !== FrameKind.hello || more.length > 0 || bytes > HELLO_BYTES_MAX) {
      throw malformed('it does not begin with a hello');
    }
    const { peer, cluster, node, channel, tls } = this.#options;
    const hello = readHello(frame.body);
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
    this.#listener = this.#options.onStream({
      hello,
      write: (bytes, taken) => {
        this.#call.write(bytes, (error: Error | null | undefined) => {
          if (error === null || error === undefined) taken();
        });
      },
      end: () => this.#over({ why: 'this node ended it' }),
    });
    // Whoever took it over may have ended it at once.
    if (this.#isOver) this.#listener.ended();
  }
}

function newClient(options: DialerOptions, secure: Credentials): Client {
  return new Client(targetOf(options.peer), secure, channelOptions(options));
}

function helloBatch({ cluster, node, incarnation, peer, channel }: DialerOptions): Buffer {
  const hello: Hello = {
    oldest: VERSION_OLDEST,
    newest: VERSION_NEWEST,
    channel,
    incarnation,
    cluster,
    from: node,
    to: peer.id,
  };
  return encodeBatch([
    {
      kind: FrameKind.hello,
      shard: 0,
      bytes: helloBytes(hello),
      write: writeHello.bind(undefined, hello),
    },
  ]);
}

function targetOf({ host, port }: PeerPlace): string {
  return isIPv6(host) ? `ipv6:[${host}]:${port}` : `dns:${host}:${port}`;
}

function credentialsFor({ tls, cluster, peer, refusals }: DialerOptions): Credentials {
  if (tls === undefined) return credentials.createInsecure();
  const expected = { cluster, node: peer.id };
  const checkServerIdentity = (_host: string, certificate: PeerCertificate): Error | undefined => {
    const found = identityOf(certificate.subjectaltname);
    if (found !== undefined && sameIdentity(found, expected)) return undefined;
    const whose = found === undefined ? 'no node' : `${found.node} of ${found.cluster}`;
    const text = `it has the certificate of ${whose}, and should be ${peer.id} of ${cluster}`;
    const error = new PeerError('identity', text);
    refusals.refused(error, `${peer.host}:${peer.port}`);
    return error;
  };
  const context = createSecureContext({ ...tls, minVersion: 'TLSv1.3' });
  return ChannelCredentials.createFromSecureContext(context, { checkServerIdentity });
}

/** A name for TLS, which takes no address for one; who answers is checked by its certificate. */
const SERVER_NAME = 'fluxmq-peer';

function channelOptions({ channel, tls }: DialerOptions): ChannelOptions {
  return {
    'grpc.max_receive_message_length': BATCH_BYTES_MAX,
    'grpc.max_send_message_length': REQUEST_BYTES_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS,
    'grpc.initial_reconnect_backoff_ms': RECONNECT_MS_MIN,
    'grpc.max_reconnect_backoff_ms': CONNECT_AGAIN_MS_MAX,
    'grpc.dns_min_time_between_resolutions_ms': RESOLVE_MS_MIN,
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
    'grpc.service_config_disable_resolution': 1,
    // A connection of its own for each channel.
    'grpc.use_local_subchannel_pool': 1,
    ...(tls === undefined ? {} : { 'grpc.ssl_target_name_override': SERVER_NAME }),
    ...(channel !== 'control' ? { 'grpc-node.flow_control_window': BULK_WINDOW_BYTES } : {}),
  };
}
