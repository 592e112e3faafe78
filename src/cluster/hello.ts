/**
 * The first frame on a stream, in both directions: who speaks, to whom, in which versions of the
 * protocol. Nothing else is read from a stream before its hello was checked against the
 * configuration and against the certificate of the connection (S10).
 *
 *   u32 magic `FMQP`, u16 oldest and u16 newest version, u8 channel, u64 incarnation,
 *   u8 length and text of: cluster, from, to
 *
 * The first eight bytes keep their meaning in every version, so that a node of another one is
 * refused by its version and not as broken. The incarnation is another number at each start.
 */

import { FrameReader, type FrameWriter, U64_BYTES, malformed } from './frame-bytes.ts';
import { type NodeIdentity, sameIdentity } from './node-identity.ts';
import { HELLO_BYTES_MAX, VERSION_NEWEST, VERSION_OLDEST } from './peer-limits.ts';
import { PeerError } from './refusals.ts';

/** `FMQP`. */
const MAGIC = 0x50514d46;
const FIXED_BYTES = 4 + 2 + 2 + 1 + U64_BYTES + 3;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * Control: heartbeats, votes, acknowledgements. Bulk: entries, and what a catch-up carries. Link:
 * what nodes use each other's shards by.
 */
const CHANNELS = ['control', 'bulk', 'link'] as const;
export type Channel = (typeof CHANNELS)[number];

export interface Hello {
  /** Versions of the protocol; in an answer both are the one that holds. */
  readonly oldest: number;
  readonly newest: number;
  readonly channel: Channel;
  readonly incarnation: number;
  readonly cluster: string;
  readonly from: string;
  readonly to: string;
}

export function helloBytes({ cluster, from, to }: Hello): number {
  return FIXED_BYTES + cluster.length + from.length + to.length;
}

export function writeHello(hello: Hello, writer: FrameWriter): void {
  writer.u32(MAGIC);
  writer.u16(hello.oldest);
  writer.u16(hello.newest);
  writer.u8(CHANNELS.indexOf(hello.channel));
  writer.u64(hello.incarnation);
  for (const name of [hello.cluster, hello.from, hello.to]) {
    writer.u8(name.length);
    writer.ascii(name);
  }
}

/** Throws a `PeerError`: `malformed`, or `version` where the rest may look otherwise. */
export function readHello(body: Buffer): Hello {
  if (body.length > HELLO_BYTES_MAX) throw malformed('a hello that is too long');
  const reader = new FrameReader(body);
  if (reader.u32() !== MAGIC) throw malformed('it does not begin with a hello');
  const [oldest, newest] = [reader.u16(), reader.u16()];
  if (oldest > VERSION_NEWEST || newest < VERSION_OLDEST || newest < oldest) {
    const ours = `${VERSION_OLDEST} to ${VERSION_NEWEST}`;
    throw new PeerError('version', `it speaks versions ${oldest} to ${newest}, this node ${ours}`);
  }
  const channel = CHANNELS[reader.u8()];
  const incarnation = reader.u64();
  const [cluster, from, to] = [readName(reader), readName(reader), readName(reader)];
  reader.end();
  if (channel === undefined) throw malformed('a channel that is none');
  return { oldest, newest, channel, incarnation, cluster, from, to };
}

function readName(reader: FrameReader): string {
  const name = reader.ascii(reader.u8());
  if (!NAME.test(name)) throw malformed('a name that is none');
  return name;
}

/** The newest that both speak; `readHello` has seen that there is one. */
export function commonVersion({ newest }: Hello): number {
  return Math.min(newest, VERSION_NEWEST);
}

export interface Expected {
  readonly cluster: string;
  /** This node. */
  readonly self: string;
  /** Whether the other end may be that node. */
  isPeer(node: string): boolean;
  /** What the certificate says: nobody, if it names none of ours. */
  readonly certified: NodeIdentity | 'nobody' | 'plaintext';
}

/** Throws a `PeerError` unless it is from a node of this cluster, to this node. */
export function checkHello(hello: Hello, expected: Expected): void {
  const { cluster, from, to } = hello;
  const { certified, self } = expected;
  if (cluster !== expected.cluster) {
    const text = `it belongs to cluster ${cluster}, this node to ${expected.cluster}`;
    throw new PeerError('cluster', text);
  }
  if (from === self || !expected.isPeer(from)) {
    throw new PeerError('unknown-node', `there is no other node ${from} in this cluster`);
  }
  if (certified === 'nobody') {
    throw new PeerError(
      'identity',
      `it says that it is ${from}, and its certificate names no node`,
    );
  }
  if (certified !== 'plaintext' && !sameIdentity(certified, { cluster, node: from })) {
    const { node, cluster: other } = certified;
    const text = `it says that it is ${from}, and has the certificate of ${node} of ${other}`;
    throw new PeerError('identity', text);
  }
  if (to !== self) {
    throw new PeerError('not-me', `it looks for ${to} at an address of ${self}`);
  }
}
