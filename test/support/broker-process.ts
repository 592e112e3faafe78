/**
 * A broker as its users run it: a process of its own, started through the launcher on a free
 * loopback port, with its data below `test/.tmp` on the real disk.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { freePort } from '../../jepsen/cluster/free-port.ts';

export const REPOSITORY = resolve(import.meta.dirname, '../..');
const LAUNCHER = join(REPOSITORY, 'src/cli/fluxmq.sh');
const START_DEADLINE_MS = 90_000;

export async function scratchDirectory(name: string): Promise<string> {
  const parent = join(REPOSITORY, 'test', '.tmp');
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, `${name}-`));
}

function accepts(
  where: { readonly port: number; readonly host: string } | { readonly path: string },
): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(where);
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}

export interface BrokerOptions {
  /** More arguments, such as `--set log.level=debug`. */
  readonly args?: readonly string[];
  readonly dataDirectory?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** It is up when its admin socket accepts: a node that waits for a leader has no other yet. */
  readonly isUpBySocket?: boolean;
  /** Of its metrics; undefined: it has none. */
  readonly opsPort?: number;
}

export class BrokerProcess {
  readonly port: number;
  readonly dataDirectory: string;
  readonly #opsPort: number | undefined;
  readonly #args: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  readonly #place: Parameters<typeof accepts>[0];
  #child: ChildProcess | undefined;
  #closed: Promise<unknown> = Promise.resolve();
  /** Standard output and error of the current process, the last 64 KiB. */
  output = '';

  private constructor(port: number, dataDirectory: string, options: BrokerOptions) {
    this.port = port;
    this.dataDirectory = dataDirectory;
    this.#opsPort = options.opsPort;
    this.#args = options.args ?? [];
    this.#env = options.env ?? {};
    this.#place =
      options.isUpBySocket === true
        ? { path: join(dataDirectory, 'admin.sock') }
        : { host: '127.0.0.1', port };
  }

  /** Prepared, not started. */
  static async prepare(name: string, options: BrokerOptions = {}): Promise<BrokerProcess> {
    const directory = options.dataDirectory ?? join(await scratchDirectory(name), 'data');
    return new BrokerProcess(await freePort(), directory, options);
  }

  static async started(name: string, options: BrokerOptions = {}): Promise<BrokerProcess> {
    const broker = await BrokerProcess.prepare(name, options);
    await broker.start();
    return broker;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Resolves when it accepts connections; rejects with its output when it ends before that. */
  async start(): Promise<void> {
    const child = this.#spawn();
    const deadline = performance.now() + START_DEADLINE_MS;
    while (!(await accepts(this.#place))) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`the broker ended with ${child.exitCode}: ${this.output}`);
      }
      if (performance.now() > deadline) throw new Error(`the broker is not up: ${this.output}`);
      await new Promise((done) => {
        setTimeout(done, 10);
      });
    }
  }

  /** For starts that must be refused: resolves with the exit status. */
  async startAndEnd(): Promise<number | null> {
    const child = this.#spawn();
    await this.#closed;
    this.#child = undefined;
    return child.exitCode;
  }

  /** One series of its metrics, by its name and labels as they are written there. */
  async metric(series: string): Promise<number> {
    // One connection each: one that is kept may be closed at the moment in which it is used again.
    const request = get({ host: '127.0.0.1', port: this.#opsPort, path: '/metrics', agent: false });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    const page = await text(answer);
    const line = page.split('\n').find((each) => each.startsWith(`${series} `));
    if (line === undefined) throw new Error(`there is no ${series}`);
    return Number(line.slice(series.length + 1));
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Resolves with the exit status of a clean stop. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** Resolves with the exit status when the process ends by itself. */
  async ended(): Promise<number | null> {
    const child = this.#child;
    await this.#closed;
    return child?.exitCode ?? null;
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(resolve(this.dataDirectory, '..'), { recursive: true, force: true });
  }

  #spawn(): ChildProcess {
    const address = `server.mqtt.tcp.addr=127.0.0.1:${this.port}`;
    // Health and metrics have one port by default, and tests run many brokers.
    const ops = this.#opsPort === undefined ? 'off' : `127.0.0.1:${this.#opsPort}`;
    const set = ['--set', address, '--set', `server.ops.addr=${ops}`];
    const args = ['start', '--data-dir', this.dataDirectory, ...set];
    const child = spawn(LAUNCHER, [...args, ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#env },
    });
    this.output = '';
    const keep = (text: string): void => {
      this.output = (this.output + text).slice(-65_536);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    this.#child = child;
    this.#closed = once(child, 'close');
    return child;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await this.#closed;
    return child.exitCode;
  }
}
