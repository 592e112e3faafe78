/**
 * `npm run browser`: the broker of broker.yaml beside this file (or of the file that is named), and
 * the page, at the first origin that the file lets in. Ctrl-C stops both; the data stays.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { PageServer } from './page-server.ts';

/** dist/examples/browser is three levels below the package. */
const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));
const LAUNCHER = join(PACKAGE, 'src/cli/fluxmq.sh');
const CONFIGURATION = join(PACKAGE, 'examples/browser/broker.yaml');

interface BrokerFile {
  readonly server?: {
    readonly mqtt?: {
      readonly ws?: {
        readonly addr?: string;
        readonly path?: string;
        readonly origins?: readonly string[];
      };
    };
  };
}

/** Where the page is, and where it connects to. */
async function placesOf(file: string): Promise<{ port: number; brokerUrl: string }> {
  const { server } = parse(await readFile(file, 'utf8')) as BrokerFile;
  const { addr, path = '/mqtt', origins: [origin] = [] } = server?.mqtt?.ws ?? {};
  if (addr === undefined || origin === undefined) {
    throw new Error(`${file} needs server.mqtt.ws.addr and server.mqtt.ws.origins`);
  }
  return { port: Number(new URL(origin).port || '80'), brokerUrl: `ws://${addr}${path}` };
}

/** Its words go to the terminal. In a group of its own: Ctrl-C is for us, and stops it in order. */
function startBroker(file: string): ChildProcess {
  const args = ['start', '--config', file];
  return spawn(LAUNCHER, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
}

async function main(): Promise<number> {
  const file = resolve(process.argv[2] ?? CONFIGURATION);
  const page = await PageServer.start({ root: PACKAGE, ...(await placesOf(file)) });
  const broker = startBroker(file);
  const closed = once(broker, 'close');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => broker.kill('SIGTERM'));
  }
  process.stdout.write(`Open ${page.origin} in a browser. Ctrl-C stops page and broker.\n`);
  await closed;
  await page.stop();
  return broker.exitCode ?? 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
