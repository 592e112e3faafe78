/**
 * A broker of the demo as a process of its own, started with the same launcher that `npm start`
 * uses.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';

/** dist/examples/demo is three levels below the package. */
export const LAUNCHER = fileURLToPath(new URL('../../../src/cli/fluxmq.sh', import.meta.url));
const CONFIGURATION = fileURLToPath(new URL('../../../examples/demo/broker.yaml', import.meta.url));
const START_DEADLINE_MS = 20_000;

export class BrokerProcess {
  readonly #port: number;
  readonly #dataDirectory: string;
  readonly #settings: readonly string[];
  #child: ChildProcess | undefined;
  #output = '';

  /** `settings`: `key=value`, as for `--set`. */
  constructor(port: number, dataDirectory: string, settings: readonly string[]) {
    this.#port = port;
    this.#dataDirectory = dataDirectory;
    this.#settings = settings;
  }

  async start(): Promise<void> {
    const address = `server.mqtt.tcp.addr=127.0.0.1:${this.#port}`;
    const data = ['--data-dir', this.#dataDirectory];
    // The demonstration takes no other port than its own.
    const settings = [address, 'server.ops.addr=off', ...this.#settings];
    const set = settings.flatMap((setting) => ['--set', setting]);
    const args = ['start', '--config', CONFIGURATION, ...data, ...set];
    const child = spawn(LAUNCHER, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    this.#output = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#output = (this.#output + text).slice(-4000);
    });
    const deadline = performance.now() + START_DEADLINE_MS;
    while (!(await this.#listens())) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`the broker did not start: ${this.#output}`);
      }
      await new Promise((resolve) => {
        setTimeout(resolve, 25);
      });
    }
  }

  /** kill -9: nothing of the process has a chance to write anything more. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
  }

  #listens(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: this.#port });
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
  }
}
