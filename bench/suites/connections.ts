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
/** Behind the port: where a process listens that is to have TLS there, and its inspector. */
const OTHER_PORT = 1;
const INSPECTOR_PORT = 60;

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

/** Ours is the first. */
function overTcp(port: number): Contestant[] {
  const env = inspectorEnv(port + INSPECTOR_PORT);
  return [
    { name: 'ours', start: () => startFluxmq(port, lifted('tcp'), env), isNode: true },
    { name: 'bare', start: () => startBareSockets(port, undefined, env), isNode: true },
    { name: 'Aedes', start: () => startAedes(port, env), isNode: true },
    { name: 'Mosquitto', start: () => startMosquitto(port), isNode: false },
  ];
}

function overTls(pair: Pair, port: number): Contestant[] {
  const env = inspectorEnv(port + INSPECTOR_PORT);
  const other = port + OTHER_PORT;
  const tls = [
    `server.mqtt.tls.addr=127.0.0.1:${port}`,
    `server.tls.cert=${pair.cert}`,
    `server.tls.key=${pair.key}`,
  ];
  const settings = [...lifted('tls'), ...tls.flatMap((each) => ['--set', each])];
  const files = [`certfile ${pair.cert}`, `keyfile ${pair.key}`];
  // The key is this user's alone.
  const lines = ['user root', `listener ${port} 127.0.0.1`, ...files];
  return [
    { name: 'ours', start: () => startFluxmq(other, settings, env), isNode: true },
    { name: 'bare', start: () => startBareSockets(port, pair, env), isNode: true },
    { name: 'Mosquitto', start: () => startMosquitto(other, lines), isNode: false },
  ];
}

async function clients(count: number, open: () => Promise<Socket>): Promise<Socket[]> {
  const all: Socket[] = [];
  while (all.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - all.length) }, async (_, i) => {
      const socket = await open();
      await greet(socket, `idle-${all.length + i}`);
      socket.on('error', () => undefined);
      return socket;
    });
    all.push(...(await Promise.all(some)));
  }
  return all;
}

/** KiB for each connection. */
async function perConnection(
  { start, isNode }: Contestant,
  open: (port: number) => Promise<Socket>,
  options: SuiteOptions,
): Promise<number> {
  const { port, smoke } = options;
  const count = scaled(CONNECTIONS, options);
  const settledBytes = async (peer: Peer): Promise<number> => {
    for (let times = 0; times < 2; times += 1) {
      if (isNode) await collectGarbage(port + INSPECTOR_PORT);
      await new Promise((resolve) => {
        setTimeout(resolve, smoke ? 0 : REST_MS);
      });
    }
    return peer.residentBytes();
  };
  const openOne = (): Promise<Socket> => open(port);
  return fresh(start, async (peer) => {
    for (const socket of await clients(Math.min(WARM_UP, count), openOne)) socket.destroy();
    const before = await settledBytes(peer);
    const all = await clients(count, openOne);
    const bytes = (await settledBytes(peer)) - before;
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
  const contestants = options.alone ? way.contestants.slice(0, 1) : way.contestants;
  const rounds = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < options.rounds; round += 1) {
    for (const contestant of contestants) {
      const kib = await perConnection(contestant, way.open, options);
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
      peer: options.alone ? `${way.mostKib} KiB` : `${way.mostKib} KiB (${beside})`,
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
    const plain = overTcp(options.port);
    const tcp = { name: 'TCP', contestants: plain, open: openSocket, mostKib: 10 } as const;
    const contestants = overTls(pair, options.port);
    const tls = { name: 'TLS', contestants, open: openTlsSocket, mostKib: 45 } as const;
    return [...(await compared(tcp, options)), ...(await compared(tls, options))];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};
