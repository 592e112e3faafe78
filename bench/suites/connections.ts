/**
 * Memory of an idle connection: 10,000 clients that have said CONNECT and nothing else, over TCP
 * and over TLS; beside bare sockets of Node.js, Aedes and Mosquitto.
 *
 * What is compared is resident memory before and after, both after a collection of garbage where
 * the process is one of Node.js (`inspector.ts`) and after some clients had come and gone, so that
 * the code is compiled and the libraries are loaded. The kernel's own part of a socket is in none
 * of these figures.
 */

import { execFile } from 'node:child_process';
import type { Socket } from 'node:net';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openSocket, openTlsSocket } from '../load/connections.ts';
import { greet } from '../load/mqtt-wire.ts';
import { collectGarbage, inspectorEnv } from '../peers/inspector.ts';
import {
  startAedes,
  startBareSockets,
  startFluxmq,
  startMosquitto,
  type Pair,
} from '../peers/peers.ts';
import { fresh, scratchDirectory, type Peer } from '../peers/peer.ts';
import { median, type Finding } from '../report.ts';
import { scaled, type Suite, type SuiteOptions } from './suite.ts';

const CONNECTIONS = 10_000;
const WARM_UP = 1000;
const AT_ONCE = 100;
const REST_MS = 3000;
const KIB = 1024;
const INSPECTOR = 18890;
const PORT = 18830;
/** Where a process listens that is to have TLS at `PORT`. */
const OTHER_PORT = 18831;

interface Contestant {
  readonly name: string;
  readonly start: () => Promise<Peer>;
  readonly isNode: boolean;
}

/** The limits out of the way, each at its key. */
function lifted(way: 'tcp' | 'tls'): string[] {
  const values = {
    max_connections: 20_000,
    max_handshakes: 20_000,
    'per_address.max_connections': 0,
    'per_address.max_handshakes': 0,
    'per_address.connection_rate': 0,
  };
  return Object.entries(values).flatMap(([key, value]) => [
    '--set',
    `server.mqtt.${way}.${key}=${value}`,
  ]);
}

function overTcp(): Contestant[] {
  const env = inspectorEnv(INSPECTOR);
  return [
    { name: 'ours', start: () => startFluxmq(PORT, lifted('tcp'), env), isNode: true },
    { name: 'bare', start: () => startBareSockets(PORT, undefined, env), isNode: true },
    { name: 'Aedes', start: () => startAedes(PORT, env), isNode: true },
    { name: 'Mosquitto', start: () => startMosquitto(PORT), isNode: false },
  ];
}

function overTls(pair: Pair): Contestant[] {
  const env = inspectorEnv(INSPECTOR);
  const tls = [
    `server.mqtt.tls.addr=127.0.0.1:${PORT}`,
    `server.tls.cert=${pair.cert}`,
    `server.tls.key=${pair.key}`,
  ];
  const settings = [...lifted('tls'), ...tls.flatMap((each) => ['--set', each])];
  const files = [`certfile ${pair.cert}`, `keyfile ${pair.key}`];
  // The key is this user's alone.
  const lines = ['user root', `listener ${PORT} 127.0.0.1`, ...files];
  return [
    { name: 'ours', start: () => startFluxmq(OTHER_PORT, settings, env), isNode: true },
    { name: 'bare', start: () => startBareSockets(PORT, pair, env), isNode: true },
    { name: 'Mosquitto', start: () => startMosquitto(OTHER_PORT, lines), isNode: false },
  ];
}

async function clients(count: number, open: (port: number) => Promise<Socket>): Promise<Socket[]> {
  const all: Socket[] = [];
  while (all.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - all.length) }, async (_, i) => {
      const socket = await open(PORT);
      await greet(socket, `idle-${all.length + i}`);
      socket.on('error', () => undefined);
      return socket;
    });
    all.push(...(await Promise.all(some)));
  }
  return all;
}

async function settledBytes(peer: Peer, isNode: boolean): Promise<number> {
  for (let times = 0; times < 2; times += 1) {
    if (isNode) await collectGarbage(INSPECTOR);
    await new Promise((resolve) => {
      setTimeout(resolve, REST_MS);
    });
  }
  return peer.residentBytes();
}

/** KiB for each connection. */
async function perConnection(
  { start, isNode }: Contestant,
  count: number,
  open: (port: number) => Promise<Socket>,
): Promise<number> {
  return fresh(start, async (peer) => {
    for (const socket of await clients(Math.min(WARM_UP, count), open)) socket.destroy();
    const before = await settledBytes(peer, isNode);
    const all = await clients(count, open);
    const bytes = (await settledBytes(peer, isNode)) - before;
    if (all.some((socket) => socket.destroyed)) throw new Error(`${peer.name} ended a client`);
    for (const socket of all) socket.destroy();
    return bytes / count / KIB;
  });
}

interface Way {
  readonly name: 'TCP' | 'TLS';
  readonly contestants: readonly Contestant[];
  readonly open: (port: number) => Promise<Socket>;
  readonly mostKib: number;
}

async function compared(way: Way, options: SuiteOptions): Promise<Finding[]> {
  const count = scaled(CONNECTIONS, options);
  const rounds = new Map(way.contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < options.rounds; round += 1) {
    for (const contestant of way.contestants) {
      const kib = await perConnection(contestant, count, way.open);
      options.progress(`${contestant.name}, ${way.name}: ${kib.toFixed(1)} KiB a connection`);
      rounds.get(contestant.name)?.push(kib);
    }
  }
  const told = (name: string): number => median(rounds.get(name) ?? []);
  const others = [...rounds.keys()].filter((name) => name !== 'ours');
  const beside = others.map((name) => `${name} ${told(name).toFixed(1)}`).join(', ');
  const ours = told('ours');
  return [
    {
      what: `memory of an idle connection, ${count.toLocaleString('en-US')} over ${way.name}`,
      ours: `${ours.toFixed(1)} KiB`,
      peer: `${way.mostKib} KiB (${beside})`,
      ratio: ours / way.mostKib,
      target: { at: 'most', ratio: 1 },
    },
  ];
}

export const connectionsSuite: Suite = async (options) => {
  const directory = await scratchDirectory('connections');
  try {
    const pair = { cert: join(directory, 'server.pem'), key: join(directory, 'server.key') };
    const made = ['-keyout', pair.key, '-out', pair.cert, '-days', '2', '-subj', '/CN=localhost'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    await promisify(execFile)('openssl', ['req', '-x509', ...curve, ...made]);
    const tcp = { name: 'TCP', contestants: overTcp(), open: openSocket, mostKib: 10 } as const;
    const contestants = overTls(pair);
    const tls = { name: 'TLS', contestants, open: openTlsSocket, mostKib: 45 } as const;
    return [...(await compared(tcp, options)), ...(await compared(tls, options))];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};
