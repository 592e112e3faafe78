/**
 * All nodes on loopback, and a TCP proxy of our own on each way from one node to another: the
 * fallback where network namespaces cannot be made. A cut stops reading from the side that is cut,
 * so that bytes stay where they are and neither side hears anything; after the heal they go on, as
 * TCP's own retransmissions would. A connection that is made during a cut is accepted and hears
 * nothing, where a real network would not even answer.
 *
 * Which node opened a connection is known by the port: each (from, to) has one.
 */

import { type Server, type Socket, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { freePort } from './free-port.ts';
import type { Address, ClusterNetwork, NodeAddresses } from './network.ts';

const HOST = '127.0.0.1';
/** A node has a few streams to each other one. */
const CONNECTIONS_MAX = 1024;

interface Pair {
  /** Of the node that opened it. */
  readonly near: Socket;
  readonly far: Socket;
}

/** The way from one node to another; bytes go both ways on it. */
class Way {
  readonly from: string;
  readonly to: string;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #isCut: (from: string, to: string) => boolean;

  constructor(from: string, to: string, isCut: (from: string, to: string) => boolean) {
    this.from = from;
    this.to = to;
    this.#isCut = isCut;
    this.#server = createServer();
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  async listen(target: Address): Promise<Address> {
    this.#server.on('connection', (near) => this.#opened(near, connect(target)));
    this.#server.listen(0, HOST);
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no TCP port');
    return { host: HOST, port: address.port };
  }

  /** After a cut or a heal. */
  look(): void {
    for (const pair of this.#pairs) this.#flow(pair);
  }

  async close(): Promise<void> {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    this.#server.close();
    await once(this.#server, 'close');
  }

  #opened(near: Socket, far: Socket): void {
    const pair: Pair = { near, far };
    this.#pairs.add(pair);
    for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
      socket.setNoDelay(true);
      socket.on('data', (bytes) => {
        if (!other.write(bytes)) socket.pause();
      });
      other.on('drain', () => this.#flow(pair));
      socket.on('error', () => other.destroy());
      socket.on('end', () => other.end());
      socket.on('close', () => {
        other.destroy();
        this.#pairs.delete(pair);
      });
    }
    this.#flow(pair);
  }

  #flow({ near, far }: Pair): void {
    let cut = this.#isCut(this.from, this.to);
    if (cut || far.writableNeedDrain) near.pause();
    else near.resume();
    cut = this.#isCut(this.to, this.from);
    if (cut || near.writableNeedDrain) far.pause();
    else far.resume();
  }
}

export class Loopback implements ClusterNetwork {
  readonly about: string;
  readonly canCut: boolean;
  readonly needsTls = false;
  readonly #addresses = new Map<string, NodeAddresses>();
  readonly #ways = new Map<string, { readonly way: Way; readonly address: Address }>();
  readonly #cuts = new Set<string>();

  private constructor(about: string, canCut: boolean) {
    this.about = about;
    this.canCut = canCut;
  }

  /** `why` there are no namespaces. */
  static async create(nodes: readonly string[], why: string): Promise<Loopback> {
    const alone = nodes.length === 1;
    const about = alone
      ? 'one node on loopback'
      : `loopback, with a TCP proxy on each way between two nodes (${why})`;
    const made = new Loopback(about, !alone);
    for (const node of nodes) {
      const address = async (): Promise<Address> => ({ host: HOST, port: await freePort() });
      const [mqtt, ops, peer] = [await address(), await address(), await address()];
      made.#addresses.set(node, { mqtt, ops, peer });
    }
    for (const from of nodes) {
      for (const to of nodes) {
        if (from === to) continue;
        const way = new Way(from, to, (one, other) => made.#cuts.has(`${one} ${other}`));
        const address = await way.listen(made.addresses(to).peer);
        made.#ways.set(`${from} ${to}`, { way, address });
      }
    }
    return made;
  }

  addresses(node: string): NodeAddresses {
    const addresses = this.#addresses.get(node);
    if (addresses === undefined) throw new Error(`no node ${node}`);
    return addresses;
  }

  peerAddress(from: string, to: string): Address {
    return this.#ways.get(`${from} ${to}`)?.address ?? this.addresses(to).peer;
  }

  onNode(): readonly string[] {
    return [];
  }

  cut(from: string, to: string): Promise<void> {
    if (!this.#ways.has(`${from} ${to}`)) {
      return Promise.reject(new Error(`there is no way from ${from} to ${to}`));
    }
    this.#cuts.add(`${from} ${to}`);
    this.#look();
    return Promise.resolve();
  }

  heal(): Promise<void> {
    this.#cuts.clear();
    this.#look();
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#ways.values()].map(({ way }) => way.close()));
  }

  #look(): void {
    for (const { way } of this.#ways.values()) way.look();
  }
}
