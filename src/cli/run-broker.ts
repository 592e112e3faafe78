/**
 * What `fluxmq start` does: runs one node until a signal, and says how to talk to it. Loaded only
 * where a broker is to run.
 *
 * A first SIGINT or SIGTERM stops in order, a second one ends at once (nothing acknowledged is lost
 * by that either). A failed store ends the process within a second with a code of its own.
 */

import { accessSettings } from '../access-options.ts';
import { AccessFileError } from '../access/lines.ts';
import { AdminSocketError } from '../admin/socket.ts';
import { type Config, isLoopback } from '../config/config.ts';
import { RETAINED_QUEUE } from '../machine/definitions.ts';
import { ListenError, type Listening, Node, StartGivenUp } from '../node.ts';
import { logSettings, serverTlsSettings } from '../options.ts';
import { PeerStartError } from '../peer-start-error.ts';
import { ServerTlsError } from '../protocol/doors/server-tls.ts';
import { startShards } from '../shard-threads.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createLogger } from '../telemetry/pino-logger.ts';
import { systemCode } from '../worker-talk.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { storageExitCode } from './storage-exit-code.ts';
import { version } from './version.ts';

/** After a failure, so that publishers hear their refusals before the sockets are gone. */
const LAST_WORDS_MS = 300;
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export async function runBroker(config: Config): Promise<void> {
  const terminal = process.stderr.isTTY;
  const log = createLogger(logSettings(config, terminal));
  endOnBugs(log);
  // Before anything is opened: a signal during the start stops what was started, in order.
  const signal = stopSignal(log);
  const asked = new Promise<void>((done) => {
    signal.addEventListener('abort', () => done());
  });
  const parts = { config, log, version: version(), startShards, terminal, signal };
  const started = startNode(parts);
  const settings = [serverTlsSettings(config), accessSettings(config)];
  if (settings.some((each) => each !== undefined)) reloadOnHangUp(started);
  const node = await started;
  if (node === undefined) return;
  process.stdout.write(greeting(node, config));
  // A stop that fails is a failed store: the process must end, whatever is still open.
  const stopped = asked.then(() => node.stop()).catch(asError);
  const error = await Promise.race([node.failed, stopped]);
  if (error === undefined) return;
  log.error({ error }, 'the store failed: ending');
  await new Promise((done) => {
    setTimeout(done, LAST_WORDS_MS);
  });
  process.exit(ExitCode.storage);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Undefined: it was stopped before there was a leader. */
async function startNode(parts: Parameters<typeof Node.start>[0]): Promise<Node | undefined> {
  try {
    return await Node.start(parts);
  } catch (error) {
    if (error instanceof StartGivenUp) return undefined;
    if (error instanceof ListenError || error instanceof AdminSocketError) {
      throw new CliError(ExitCode.listener, error.message, { cause: error });
    }
    if (error instanceof PeerStartError) {
      const code = error.isAboutListening ? ExitCode.listener : ExitCode.usage;
      throw new CliError(code, `${error.message} (${error.key})`, { cause: error });
    }
    if (error instanceof ServerTlsError || error instanceof AccessFileError) {
      throw new CliError(ExitCode.usage, `${error.message} (${error.key})`, { cause: error });
    }
    const code = storageExitCode(error);
    if (code === undefined || !(error instanceof Error)) throw error;
    const text =
      systemCode(error) === undefined
        ? error.message
        : `cannot use the data directory ${parts.config.data_dir}: ${error.message}`;
    throw new CliError(code, text, { cause: error });
  }
}

/**
 * Without TLS and without users there is nothing to read again, and SIGHUP ends the process as it
 * does by itself: the terminal is gone.
 */
function reloadOnHangUp(started: Promise<Node | undefined>): void {
  process.on('SIGHUP', () => {
    // That a start fails is told elsewhere.
    void started.then(
      (node) => node?.reload(),
      () => undefined,
    );
  });
}

/** Aborted by the first signal; a second one ends the process at once. */
function stopSignal(log: Logger): AbortSignal {
  const asked = new AbortController();
  const onSignal = (signal: keyof typeof SIGNAL_CODES): void => {
    if (asked.signal.aborted) process.exit(SIGNAL_CODES[signal]);
    log.info({ signal }, 'asked to stop');
    asked.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return asked.signal;
}

/**
 * A bug ends the process: what is acknowledged is on the disk, and what is in memory is in doubt.
 */
function endOnBugs(log: Logger): void {
  const end = (error: unknown): void => {
    log.error({ error }, 'unexpected: ending');
    process.exit(ExitCode.unexpected);
  };
  process.on('uncaughtException', end).on('unhandledRejection', end);
}

function greeting(node: Node, config: Config): string {
  const rows = [
    ...node.listening.map((listening) => listeningRow(listening, config)),
    ...opsRow(node),
    ['data', node.dataDirectory],
    ['queues', queuesTold(node)],
    ['admin', node.adminSocket ?? 'off'],
  ];
  const first = node.listening.find(({ scheme }) => scheme === 'mqtt');
  const name = config.queues[0]?.name ?? 'mqtt';
  const lines = [
    `FluxMQ ${version()}, ${config.node.id}`,
    ...rows.map(([what = '', value]) => `  ${what.padEnd(17)}${value}`),
    '',
    ...(first === undefined ? [] : firstSteps(first, name)),
    'Ctrl-C stops it.',
    '',
  ];
  return lines.join('\n');
}

function listeningRow({ scheme, host, port }: Listening, { server }: Config): string[] {
  const bare = scheme !== 'mqtt' && host.includes(':') ? `[${host}]` : host;
  switch (scheme) {
    case 'mqtt':
      return ['MQTT 3.1.1, 5.0', `${bare}:${port}`];
    case 'mqtts':
      return ['over TLS', `${bare}:${port}`];
    case 'ws':
    case 'wss':
      return ['over WebSocket', `${scheme}://${bare}:${port}${server.mqtt[scheme].path}`];
    default:
      return scheme satisfies never;
  }
}

/** There may be very many. */
const QUEUES_TOLD_MAX = 10;

function queuesTold({ queues }: Node): string {
  const names: string[] = [];
  // Those of sessions and of retained messages are the broker's own.
  const count = queues.count - queues.internalCount;
  for (const { name, type } of queues) {
    if (names.length === Math.min(count, QUEUES_TOLD_MAX)) break;
    if (type !== 'session' && name !== RETAINED_QUEUE) names.push(name);
  }
  const more = count - names.length;
  return more === 0 ? names.join(', ') : `${names.join(', ')} and ${more} more`;
}

function opsRow({ ops }: Node): string[][] {
  if (ops === undefined) return [];
  const host = ops.host.includes(':') ? `[${ops.host}]` : ops.host;
  return [['health, metrics', `http://${host}:${ops.port}/readyz, /metrics`]];
}

function firstSteps({ host, port }: Listening, queue: string): string[] {
  const topic = `'$queue/${queue.replaceAll("'", `'\\''`)}'`;
  const near = isLoopback(host) || host === '::' || host === '0.0.0.0';
  const where = near ? (host === '::1' ? ['-h ::1'] : []) : [`-h ${host}`];
  const at = [...where, ...(port === 1883 ? [] : [`-p ${port}`])]
    .map((part) => ` ${part}`)
    .join('');
  return [
    'A first message, with either of:',
    `  mosquitto_pub${at} -q 1 -t ${topic} -m 'hello'`,
    `  npx fluxmq pub${at} -t ${topic} -m 'hello'`,
    'and what is in the queue:',
    `  npx fluxmq sub${at} -t ${topic}`,
    '',
  ];
}
