/**
 * Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`, and nothing else.
 *
 * Bounded against whoever reaches it: connections, size of a head, time to a whole request, one
 * gathering of figures at a time whoever asks, and no body is read. The answer of one moment is
 * given to all who ask within it, so that a flood costs the shards nothing. Opens before the
 * recovery and closes last, since then it is asked most.
 */

import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Logger } from '../telemetry/logger.ts';
import type { Figures, OpsSources } from './figures.ts';
import { livenessOf, readinessOf } from './health.ts';
import { Metrics } from './metrics.ts';
import type { OpsOptions } from './ops-options.ts';

const HEAD_BYTES_MAX = 8_192;
const HEADERS_MAX = 64;
const REQUESTS_PER_SOCKET_MAX = 10_000;
/** How long the shards may take to tell their figures. */
const SHARDS_MS_MAX = 2_000;
/** So long one gathering serves all. */
const MOMENT_MS = 500;

const JSON_TYPE = 'application/json; charset=utf-8';
const TEXT_TYPE = 'text/plain; charset=utf-8';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

interface Gathered<T> {
  readonly value: Promise<T>;
  readonly atMs: number;
}

export class OpsListener {
  readonly #options: OpsOptions;
  readonly #sources: OpsSources;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #server: Server;
  #shards: Gathered<Figures | undefined> | undefined;
  /** They are asked again when they have answered. */
  #asked: Promise<Figures> | undefined;
  #scrape: Gathered<string> | undefined;

  constructor(options: OpsOptions, sources: OpsSources, log: Logger) {
    this.#options = options;
    this.#sources = sources;
    this.#log = log;
    this.#metrics = new Metrics(options);
    const { requestTimeoutMs } = options;
    this.#server = createServer(
      {
        maxHeaderSize: HEAD_BYTES_MAX,
        requestTimeout: requestTimeoutMs,
        headersTimeout: requestTimeoutMs,
        keepAliveTimeout: requestTimeoutMs,
        connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      },
      (request, response) => this.#requested(request, response),
    );
    this.#server.maxConnections = options.maxConnections;
    this.#server.maxHeadersCount = HEADERS_MAX;
    this.#server.maxRequestsPerSocket = REQUESTS_PER_SOCKET_MAX;
    // Also ends a connection that says nothing, and one that does not take its answer.
    this.#server.timeout = requestTimeoutMs;
  }

  get address(): { readonly host: string; readonly port: number } | undefined {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') return undefined;
    return { host: address.address, port: address.port };
  }

  /** Rejects when the address cannot be had. */
  async start(): Promise<void> {
    const server = this.#server;
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error: NodeJS.ErrnoException) => {
      this.#log.warn({ code: error.code }, 'the listener for health and metrics had an error');
    });
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    await closed;
  }

  #requested(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request)
      .catch((error: unknown): Answer => {
        this.#log.error({ error }, 'health or metrics could not be told');
        return { status: 500, type: TEXT_TYPE, body: 'the log of the broker says why\n' };
      })
      .then((answer) => send(request, response, answer))
      .catch(() => response.destroy());
  }

  async #answer({ method, url = '' }: IncomingMessage): Promise<Answer> {
    const path = url.split('?', 1)[0];
    if (path !== '/livez' && path !== '/readyz' && path !== '/metrics') {
      return { status: 404, type: TEXT_TYPE, body: 'there are /livez, /readyz and /metrics\n' };
    }
    if (method !== 'GET' && method !== 'HEAD') {
      return { status: 405, type: TEXT_TYPE, body: 'GET or HEAD\n' };
    }
    switch (path) {
      case '/livez':
        return this.#livez();
      case '/readyz':
        return this.#readyz();
      case '/metrics':
        return { status: 200, type: this.#metrics.contentType, body: await this.#text() };
    }
  }

  #livez(): Answer {
    const { stage, shardThread, mainThread } = this.#sources;
    const figures = { stage: stage(), shardThread: shardThread() };
    const { alive, threads } = livenessOf(figures, mainThread(), this.#options.liveWithinMs);
    const status = alive ? 'alive' : 'not-alive';
    return json(alive ? 200 : 503, { status, silent_ms: threads });
  }

  async #readyz(): Promise<Answer> {
    const shards = await this.#shardFigures();
    const { stage, storeFailure, closedListeners } = this.#sources;
    const { status, reasons } = readinessOf({
      stage: stage(),
      storeFailure: storeFailure(),
      closedListeners: closedListeners(),
      shards,
    });
    return json(status === 'not-ready' ? 503 : 200, { status, reasons });
  }

  #text(): Promise<string> {
    this.#scrape = gather(this.#scrape, async () => {
      const shards = await this.#shardFigures();
      const { node, mainThread, shardThread } = this.#sources;
      return this.#metrics.encode({
        node: node(),
        shards,
        mainThread: mainThread(),
        shardThread: shardThread(),
      });
    });
    return this.#scrape.value;
  }

  /** Undefined where they do not run, and where they do not answer in time. */
  #shardFigures(): Promise<Figures | undefined> {
    this.#shards = gather(this.#shards, () => inTime(this.#ask()));
    return this.#shards.value;
  }

  #ask(): Promise<Figures> | undefined {
    if (this.#asked !== undefined) return this.#asked;
    this.#asked = this.#sources.shards();
    const answered = (): void => {
      this.#asked = undefined;
    };
    this.#asked?.then(answered, answered);
    return this.#asked;
  }
}

/** What was gathered a moment ago or is being gathered serves again. */
function gather<T>(last: Gathered<T> | undefined, begin: () => Promise<T>): Gathered<T> {
  if (last !== undefined && performance.now() - last.atMs < MOMENT_MS) return last;
  const value = begin();
  const gathered = { value, atMs: Number.POSITIVE_INFINITY };
  const done = (): void => {
    gathered.atMs = performance.now();
  };
  value.then(done, done);
  return gathered;
}

async function inTime(figures: Promise<Figures> | undefined): Promise<Figures | undefined> {
  if (figures === undefined) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), SHARDS_MS_MAX);
  });
  try {
    return await Promise.race([figures.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}

function json(status: number, body: unknown): Answer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify(body)}\n` };
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { status, type, body } = answer;
  const bytes = Buffer.from(body, 'utf8');
  response.writeHead(status, {
    'content-type': type,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
    // A body is not read, so nothing may follow it.
    ...(hasBody(request) ? { connection: 'close' } : {}),
  });
  if (request.method === 'HEAD') response.end();
  else response.end(bytes);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}
