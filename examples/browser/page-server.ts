/**
 * Serves the page of this example, and nothing else, to this machine alone: a handful of files that
 * are read once at the start.
 *
 * The page may load scripts and styles from here only, and connect to one broker only: that is said
 * in a Content-Security-Policy, which holds even where a page has a fault.
 */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const HOST = '127.0.0.1';

interface PageFile {
  readonly type: string;
  readonly bytes: Uint8Array;
}

export interface PageServerOptions {
  /** The folder of the package, after a build. */
  readonly root: string;
  /** 0: one that is free. */
  readonly port: number;
  /** Where the page connects to, such as `ws://127.0.0.1:9001/mqtt`. */
  readonly brokerUrl: string;
}

export class PageServer {
  readonly #files: ReadonlyMap<string, PageFile>;
  readonly #policy: string;
  readonly #server = createServer((request, response) => this.#answer(request, response));

  private constructor(files: ReadonlyMap<string, PageFile>, brokerUrl: string) {
    this.#files = files;
    this.#policy = policyFor(brokerUrl);
  }

  /** Resolves when it listens; rejects when a file is missing or the port is taken. */
  static async start({ root, port, brokerUrl }: PageServerOptions): Promise<PageServer> {
    const server = new PageServer(await filesOf(root, brokerUrl), brokerUrl);
    server.#server.listen(port, HOST);
    await once(server.#server, 'listening');
    return server;
  }

  /** As a browser names it, and as it has to stand in `server.mqtt.ws.origins`. */
  get origin(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('it does not listen');
    return `http://${HOST}:${address.port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method, url = '' } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    const file = this.#files.get(url);
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      'content-type': file.type,
      'content-length': file.bytes.length,
      'content-security-policy': this.#policy,
      'cache-control': 'no-store',
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
    response.end(method === 'HEAD' ? undefined : file.bytes);
  }
}

/** MQTT.js keeps time in a worker that it makes from a blob, so that hidden tabs stay connected. */
function policyFor(brokerUrl: string): string {
  const { protocol, host } = new URL(brokerUrl);
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    'img-src data:',
    `connect-src 'self' ${protocol}//${host}`,
    'worker-src blob:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

async function filesOf(root: string, brokerUrl: string): Promise<Map<string, PageFile>> {
  const sources = join(root, 'examples/browser');
  const built = join(root, 'dist/examples/browser');
  const client = createRequire(import.meta.url).resolve('mqtt/dist/mqtt.min');
  const script = 'text/javascript; charset=utf-8';
  const [page, style, code, library] = await Promise.all([
    readFile(join(sources, 'index.html')),
    readFile(join(sources, 'page.css')),
    readFile(join(built, 'page.js')),
    readFile(client),
  ]);
  const broker = Buffer.from(JSON.stringify({ url: brokerUrl }));
  return new Map([
    ['/', { type: 'text/html; charset=utf-8', bytes: page }],
    ['/page.css', { type: 'text/css; charset=utf-8', bytes: style }],
    ['/page.js', { type: script, bytes: code }],
    ['/mqtt.min.js', { type: script, bytes: library }],
    ['/broker.json', { type: 'application/json', bytes: broker }],
  ]);
}
