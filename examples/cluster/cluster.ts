/**
 * `npm run cluster`: three brokers of this machine as processes of their own, from node1.yaml to
 * node3.yaml beside this file (or from the files that are named), and a live table of who leads and
 * how far everybody is. Ctrl-C stops all of them in order, and their data stays.
 *
 * What a broker says goes to a file beside its data. One that ends is shown as away, and may be
 * started again by hand, with the command that stands at the top of its file.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';

/** dist/examples/cluster is three levels below the package. */
const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));
const LAUNCHER = join(PACKAGE, 'src/cli/fluxmq.sh');
const FILES = ['node1.yaml', 'node2.yaml', 'node3.yaml'].map((name) =>
  join(PACKAGE, 'examples/cluster', name),
);
const DATA = 'data-cluster';
const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 20_000;
const LOG_TAIL = 2_000;

class Broker {
  readonly node: string;
  readonly data: string;
  readonly log: string;
  readonly #file: string;
  #child: ChildProcess | undefined;
  #closed: Promise<unknown> = Promise.resolve();

  constructor(node: string, file: string, base: string) {
    this.node = node;
    this.#file = file;
    this.data = join(base, node);
    this.log = join(base, `${node}.log`);
  }

  get isRunning(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  async start(): Promise<void> {
    const args = ['start', '--config', this.#file, '--data', this.data];
    const log = await open(this.log, 'a');
    try {
      await log.write(`# fluxmq ${args.join(' ')}\n`);
      // A group of its own: Ctrl-C is for us, and a second signal would end it at once.
      const stdio = ['ignore', log.fd, log.fd] as const;
      const child = spawn(LAUNCHER, args, { stdio: [...stdio], detached: true });
      this.#child = child;
      this.#closed = once(child, 'close');
      await once(child, 'spawn');
    } finally {
      await log.close();
    }
  }

  /** Its admin socket is there; rejects with its last words when it ended before. */
  async answers(): Promise<void> {
    const deadline = performance.now() + START_DEADLINE_MS;
    while (!(await accepts(join(this.data, 'admin.sock')))) {
      if (!this.isRunning || performance.now() > deadline) {
        const said = (await readFile(this.log, 'utf8')).slice(-LOG_TAIL);
        throw new Error(`${this.node} did not start; ${this.log} ends with\n${said}`);
      }
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    child.kill('SIGTERM');
    const late = new AbortController();
    const given = sleep(STOP_DEADLINE_MS, true, { signal: late.signal }).catch(() => false);
    const isLate = await Promise.race([given, this.#closed.then(() => false)]);
    late.abort();
    if (!isLate) return;
    say(`${this.node} has not stopped: killed`);
    child.kill('SIGKILL');
    await this.#closed;
  }
}

function accepts(path: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** The status of all of them, again and again; resolves when it ended by itself. */
async function watch(brokers: readonly Broker[], until: AbortSignal): Promise<void> {
  const [first, ...others] = brokers;
  if (first === undefined) return;
  const rest = others.flatMap(({ data }) => ['--with', data]);
  const args = ['cluster', 'status', '--watch', '1s', '--data', first.data, ...rest];
  const child = spawn(LAUNCHER, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const closed = once(child, 'close');
  until.addEventListener('abort', () => child.kill('SIGINT'), { once: true });
  if (until.aborted) child.kill('SIGINT');
  await closed;
}

async function brokersOf(files: readonly string[], base: string): Promise<Broker[]> {
  return Promise.all(
    files.map(async (file) => {
      const { node } = parse(await readFile(file, 'utf8')) as { node?: { id?: string } };
      if (node?.id === undefined) throw new Error(`${file} has no node.id`);
      return new Broker(node.id, file, base);
    }),
  );
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { data: { type: 'string', default: DATA } },
    allowPositionals: true,
  });
  const base = resolve(values.data);
  await mkdir(base, { recursive: true });
  const files = positionals.length === 0 ? FILES : positionals.map((file) => resolve(file));
  const brokers = await brokersOf(files, base);
  const asked = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => asked.abort());
  }
  try {
    for (const broker of brokers) await broker.start();
    say(`${brokers.map(({ node }) => node).join(', ')}: data and logs in ${base}`);
    await Promise.all(brokers.map((broker) => broker.answers()));
    say('Ctrl-C stops all of them.');
    await watch(brokers, asked.signal);
  } finally {
    say('\nstopping');
    await Promise.all(brokers.map((broker) => broker.stop()));
    say(`stopped; the data stays in ${base}`);
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
