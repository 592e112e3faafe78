/**
 * What nodes of one process use instead of streams between them (`ReplicaPeers`): messages in a
 * list that moves when the test says so, and links (`MemoryLinks`). As in the product a node sends
 * to those alone whom it knows, hears nobody whom it does not know, and gives a message to the
 * replica that it is for; one for a replica that has another name now has strayed.
 */

import type { NetworkListener, PeerMessage } from '../../raft/raft.ts';
import type { LinkEnd as OpenLink, LinkListener, LinkUsers } from '../../src/cluster/link.ts';
import type { PeerPlace } from '../../src/cluster/peer-dialer.ts';
import type { PeerState } from '../../src/cluster/peer.ts';
import type { ReplicaNetwork, ReplicaPeers } from '../../src/cluster/peer-transport.ts';
import { nodeOf } from '../../src/cluster/server-id.ts';
import type { LinkEnd, LinkListener as Listener } from '../../src/shard/peer-links.ts';
import { MemoryLinks } from './memory-links.ts';

interface Sent {
  readonly from: string;
  readonly shard: number;
  readonly message: PeerMessage;
}

export class MemoryPeers {
  /** Of what would be delivered; false: it is lost. */
  passes: () => boolean = () => true;
  readonly links = new MemoryLinks((from, to) => this.#know(from, to));
  readonly #nodes = new Map<string, NodePeers>();
  readonly #isolated = new Set<string>();
  #onTheirWay: Sent[] = [];
  #isOtherwise = false;

  /** A life of this node. */
  join(id: string): NodePeers {
    const node = new NodePeers(this, id);
    this.#nodes.set(id, node);
    return node;
  }

  leave(id: string): void {
    this.#nodes.delete(id);
    this.links.leave(id);
  }

  isolate(id: string): void {
    this.#isolated.add(id);
    this.links.isolate(id);
  }

  /** Everybody reaches everybody again. */
  heal(): void {
    this.#isolated.clear();
    this.links.heal();
  }

  /** Somebody knows others now: what follows comes with the next step. */
  known(): void {
    this.#isOtherwise = true;
  }

  send(sender: NodePeers, shard: number, message: PeerMessage): boolean {
    const from = sender.id;
    const to = nodeOf(message.to);
    if (this.#nodes.get(from) !== sender || !sender.knows(to)) return false;
    const isCut = this.#isolated.has(from) || this.#isolated.has(to);
    if (!isCut) this.#onTheirWay.push({ from, shard, message });
    return true;
  }

  deliver(): void {
    if (this.#isOtherwise) this.links.look();
    this.#isOtherwise = false;
    for (const { from, shard, message } of this.#onTheirWay.splice(0)) {
      const node = this.#nodes.get(nodeOf(message.to));
      if (node?.knows(from) === true && this.passes()) node.received(shard, message);
    }
    this.links.carry();
  }

  #know(from: string, to: string): boolean {
    const both = [this.#nodes.get(from), this.#nodes.get(to)];
    return both[0]?.knows(to) === true && both[1]?.knows(from) === true;
  }
}

interface Replica {
  readonly self: string;
  listener: NetworkListener | undefined;
}

export class NodePeers implements ReplicaPeers {
  readonly id: string;
  readonly #all: MemoryPeers;
  readonly #replicas = new Map<number, Replica>();
  #known = new Set<string>();

  constructor(all: MemoryPeers, id: string) {
    this.#all = all;
    this.id = id;
  }

  get peers(): PeerState[] {
    return [];
  }

  knows(node: string): boolean {
    return this.#known.has(node);
  }

  setPeers(places: readonly PeerPlace[]): void {
    this.#known = new Set(places.map(({ id }) => id));
    this.#known.delete(this.id);
    this.#all.known();
  }

  link({ opened, accepted }: LinkUsers): void {
    this.#all.links.join(this.id, {
      opened: (end) => asListener(opened(asOpenLink(end))),
      accepted: (end) => asListener(accepted(asOpenLink(end))),
    });
  }

  network(shard: number, self: string): ReplicaNetwork {
    if (this.#replicas.has(shard)) throw new Error(`shard ${shard} has a network already`);
    const replica: Replica = { self, listener: undefined };
    this.#replicas.set(shard, replica);
    return {
      send: (message) => this.#all.send(this, shard, message),
      hasRoom: () => true,
      listen: (listener) => {
        replica.listener = listener;
      },
      close: () => {
        if (this.#replicas.get(shard) === replica) this.#replicas.delete(shard);
      },
    };
  }

  received(shard: number, message: PeerMessage): void {
    const replica = this.#replicas.get(shard);
    if (replica?.self === message.to) replica.listener?.received(message);
    else replica?.listener?.strayed?.(message);
  }
}

function asOpenLink(end: LinkEnd): OpenLink {
  const { node } = end;
  const send: OpenLink['send'] = (shard, parts) => end.send(shard, parts);
  return { node, send, incarnation: 0, hasRoom: true, close: () => undefined };
}

function asListener(listener: LinkListener): Listener {
  return {
    received: (shard, bytes) => listener.received(shard, Buffer.from(bytes)),
    room: () => listener.room(),
    down: () => listener.down(),
  };
}
