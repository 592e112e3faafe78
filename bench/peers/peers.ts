/** How each broker of the comparison is started: our own, Mosquitto, RabbitMQ, Aedes. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, scratchDirectory, startPeer, type Peer } from './peer.ts';

/** `settings` are more `--set KEY=VALUE` or `--config FILE` arguments. */
export async function startFluxmq(
  port: number,
  settings: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Peer> {
  const directory = await scratchDirectory('fluxmq');
  return startPeer({
    name: 'fluxmq',
    port,
    directory,
    env,
    command: join(ROOT, 'src/cli/fluxmq.sh'),
    args: [
      'start',
      '--data-dir',
      join(directory, 'data'),
      '--set',
      `server.mqtt.tcp.addr=127.0.0.1:${port}`,
      '--set',
      'server.ops.addr=off',
      '--set',
      'log.level=error',
      ...settings,
    ],
  });
}

/** Everything in memory but the persistence file; its QoS 1 syncs nothing. */
export async function startMosquitto(
  port: number,
  settings: readonly string[] = [],
): Promise<Peer> {
  const directory = await scratchDirectory('mosquitto');
  const file = join(directory, 'mosquitto.conf');
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'log_type error',
    'set_tcp_nodelay true',
    'max_queued_messages 0',
    `persistence_location ${directory}/`,
    ...settings,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  return startPeer({
    name: 'mosquitto',
    port,
    directory,
    command: 'mosquitto',
    args: ['-c', file],
  });
}

/**
 * A node of its own with its own cookie, loopback only; the queue is durable, the messages
 * persistent.
 */
export async function startRabbitmq(port: number): Promise<Peer> {
  const directory = await scratchDirectory('rabbitmq');
  const file = join(directory, 'rabbitmq.conf');
  const lines = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    'distribution.listener.interface = 127.0.0.1',
    'log.file.level = error',
    'log.console = false',
    'vm_memory_high_watermark.relative = 0.4',
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  await mkdir(join(directory, 'home'));
  return startPeer({
    name: 'rabbitmq',
    port,
    directory,
    command: '/usr/lib/rabbitmq/bin/rabbitmq-server',
    args: [],
    env: {
      HOME: join(directory, 'home'),
      RABBITMQ_CONFIG_FILE: file,
      RABBITMQ_MNESIA_BASE: join(directory, 'db'),
      RABBITMQ_LOG_BASE: join(directory, 'log'),
      RABBITMQ_NODENAME: `bench${port}@localhost`,
      RABBITMQ_PID_FILE: join(directory, 'pid'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'plugins'),
      ERL_EPMD_ADDRESS: '127.0.0.1',
    },
  });
}

export async function startAedes(port: number, env: NodeJS.ProcessEnv = {}): Promise<Peer> {
  const directory = await scratchDirectory('aedes');
  return startPeer({
    name: 'aedes',
    port,
    directory,
    env,
    command: process.execPath,
    args: [fileURLToPath(new URL('./aedes-main.js', import.meta.url)), String(port)],
  });
}

/** Of a certificate and its key: over TLS. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** No broker at all: `bare-sockets-main.ts`. */
export async function startBareSockets(
  port: number,
  tls: Pair | undefined,
  env: NodeJS.ProcessEnv,
): Promise<Peer> {
  const directory = await scratchDirectory('bare-sockets');
  const main = fileURLToPath(new URL('./bare-sockets-main.js', import.meta.url));
  return startPeer({
    name: 'bare sockets',
    port,
    directory,
    env,
    command: process.execPath,
    args: [main, String(port), ...(tls === undefined ? [] : [tls.cert, tls.key])],
  });
}
