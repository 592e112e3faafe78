/** Nodes with real streams between them, on loopback, with certificates of an authority of ours. */

import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import type { PeerMessage } from '#raft';
import { type Issuer, makeCa, makeNodeCertificate } from '../../src/cli/cert/certificate.ts';
import { identityUri } from '../../src/cluster/node-identity.ts';
import type { PeerTls } from '../../src/cluster/peer-tls.ts';
import { PeerTransport, type ReplicaNetwork } from '../../src/cluster/peer-transport.ts';
import type { Logger } from '../../src/telemetry/logger.ts';

const HOUR_MS = 3_600_000;

function validity(hours = 1): { from: Date; until: Date } {
  return { from: new Date(Date.now() - HOUR_MS), until: new Date(Date.now() + hours * HOUR_MS) };
}

const keys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

export class Authority {
  readonly pem: string;
  readonly #issuer: Issuer;

  constructor(name = 'test') {
    const { publicKey, privateKey } = keys();
    this.pem = makeCa({ name, publicKey, privateKey, validity: validity() });
    this.#issuer = { certificate: new X509Certificate(this.pem), privateKey };
  }

  /** `uri` instead of the right one, for certificates that are wrong in some way. */
  tls(cluster: string, node: string, uri = identityUri({ cluster, node })): PeerTls {
    const { publicKey, privateKey } = keys();
    const cert = makeNodeCertificate(
      { name: node, uri, hosts: ['127.0.0.1'], publicKey, validity: validity() },
      this.#issuer,
    );
    return {
      cert: Buffer.from(cert),
      key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as unknown as Buffer,
      ca: Buffer.from(this.pem),
    };
  }
}

export interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

/** Keeps what it is told. */
export class Lines implements Logger {
  readonly all: Line[] = [];
  debug = this.#keeper('debug');
  info = this.#keeper('info');
  warn = this.#keeper('warn');
  error = this.#keeper('error');

  of(message: string): Record<string, unknown>[] {
    return this.all.filter((line) => line.message === message).map(({ fields }) => fields);
  }

  #keeper(level: string): (fields: Record<string, unknown>, message: string) => void {
    return (fields, message) => this.all.push({ level, message, fields });
  }
}

export interface NodeWish {
  readonly tls?: PeerTls | undefined;
  readonly cluster?: string;
  readonly backlogBytes?: number;
  readonly port?: number;
}

/** A node that keeps what its replica of shard 1 hears. */
export class PeerNode {
  readonly id: string;
  readonly lines = new Lines();
  readonly transport: PeerTransport;
  readonly network: ReplicaNetwork;
  readonly heard: PeerMessage[] = [];
  readonly room: string[] = [];
  /** Called with each message that is heard. */
  onHeard: (message: PeerMessage) => void = () => undefined;

  constructor(id: string, { tls, cluster = 'c', backlogBytes = 16 << 20, port = 0 }: NodeWish) {
    this.id = id;
    this.transport = new PeerTransport({
      cluster,
      node: id,
      incarnation: Math.floor(Math.random() * 2 ** 53),
      listen: { host: '127.0.0.1', port },
      tls,
      backlogBytes,
      log: this.lines,
      random: Math.random,
    });
    this.network = this.transport.network(1, id);
    this.network.listen({
      received: (message) => {
        this.heard.push(message);
        this.onHeard(message);
      },
      room: (to) => this.room.push(to),
    });
  }

  get port(): number {
    return this.transport.address?.port ?? 0;
  }

  stat(name: string): number {
    return new Map(this.transport.stats()).get(name) ?? Number.NaN;
  }
}

/** Tells each node where the others are. */
export function introduce(...nodes: readonly PeerNode[]): void {
  const places = nodes.map(({ id, port }) => ({ id, host: '127.0.0.1', port }));
  for (const { transport } of nodes) transport.setPeers(places);
}

/** Turns of the event loop until it holds; whether it ever does is for the test's own time-out. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export async function connected(...nodes: readonly PeerNode[]): Promise<void> {
  await until(() =>
    nodes.every(({ transport: { peers } }) =>
      peers.every(({ sending, receiving }) => sending && receiving),
    ),
  );
}

export function heartbeat(from: string, to: string, round: number): PeerMessage {
  return { kind: 'heartbeat', from, to, term: 1, session: 1, leaderCommit: 0, round };
}

export function append(from: string, to: string, index: number, payload: Uint8Array): PeerMessage {
  return {
    kind: 'appendEntries',
    from,
    to,
    term: 1,
    session: 1,
    prevLogIndex: index - 1,
    prevLogTerm: 1,
    leaderCommit: 0,
    entries: [
      { index, term: 1, kind: 'commands', payload, configuration: undefined, local: undefined },
    ],
  };
}
