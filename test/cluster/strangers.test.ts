/**
 * S10: who is no node of this cluster, or sends what no node would, is closed, counted, and told in
 * the log once in an interval; the replicas hear nothing of it, and the real peers go on.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrameKind, encodeBatch } from '../../src/cluster/batch.ts';
import type { FrameWriter } from '../../src/cluster/frame-bytes.ts';
import { helloBatch, refusalBatch } from '../../src/cluster/greeting.ts';
import { helloBytes, writeHello } from '../../src/cluster/hello.ts';
import { CONNECTIONS_MAX, REQUEST_BYTES_MAX } from '../../src/cluster/peer-limits.ts';
import type { PeerTls } from '../../src/cluster/peer-tls.ts';
import { PeerError, type PeerRefusal } from '../../src/cluster/refusals.ts';
import { Authority, PeerNode, connected } from '../support/peer-world.ts';
import { heartbeat, introduce, until } from '../support/peer-world.ts';
import { HELLO, Stranger, flipped, messageBatch } from '../support/strangers.ts';

const authority = new Authority();
let node: PeerNode;
let peer: PeerNode;
const open: { close(): unknown }[] = [];

beforeEach(async () => {
  node = new PeerNode('n1', { tls: authority.tls('c', 'n1') });
  peer = new PeerNode('n2', { tls: authority.tls('c', 'n2') });
  await Promise.all([node.transport.start(), peer.transport.start()]);
  introduce(node, peer);
  await connected(node, peer);
});
afterEach(async () => {
  for (const each of open.splice(0)) each.close();
  await Promise.all([node.transport.stop(), peer.transport.stop()]);
});

const helloFrame = {
  kind: FrameKind.hello,
  shard: 0,
  bytes: helloBytes(HELLO),
  write: (writer: FrameWriter) => writeHello(HELLO, writer),
};

function headOf(length: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(length - head.length, 0);
  return head;
}

function visit(tls: PeerTls, ...bytes: readonly Buffer[]): Stranger {
  const stranger = Stranger.secured(node.port, tls);
  open.push(stranger);
  for (const each of bytes) stranger.socket.write(each);
  return stranger;
}

/** By what code a stream is refused that says this. */
async function said(tls: PeerTls, ...bytes: readonly Buffer[]): Promise<string | undefined> {
  return (await visit(tls, ...bytes).closed()).refusal?.code;
}

/** A node without TLS. */
async function plainNode(): Promise<PeerNode> {
  const plain = new PeerNode('n1', {});
  open.push({ close: () => plain.transport.stop() });
  await plain.transport.start();
  return plain;
}

const refused = (code: PeerRefusal, of = node): number => of.stat(`peer-refused/${code}`);
const told = (code: PeerRefusal, of = node): number =>
  of.lines.of('a peer was turned away').filter(({ refusal }) => refusal === code).length;

/** The streams of the real peer stand, and its message is the only one that was ever heard. */
async function unharmed(): Promise<void> {
  peer.network.send(heartbeat('n2', 'n1', 77));
  await until(() => node.heard.length > 0);
  expect(node.heard).toEqual([heartbeat('n2', 'n1', 77)]);
  for (const { id, sending, receiving } of node.transport.peers) {
    expect([id, sending, receiving]).toEqual([id, id === 'n2', id === 'n2']);
  }
}

describe('S10: on the port of a node', () => {
  it.each([
    ['belongs to another cluster', { cluster: 'other' }, 'cluster'],
    ['is in no configuration', { from: 'n9' }, 'unknown-node'],
    ['is another than its certificate says', { from: 'n3' }, 'unknown-node'],
    ['looks for another node', { to: 'n3' }, 'not-me'],
    ['speaks an old version', { oldest: 1, newest: 1 }, 'version'],
    ['speaks a later version only', { oldest: 7, newest: 9 }, 'version'],
  ] as const)('who %s is refused, and hears why', async (_what, change, code) => {
    const hello = helloBatch({ ...HELLO, ...change });
    const { refusal } = await visit(authority.tls('c', 'n2'), hello).closed();
    expect(refusal?.code).toBe(code);
    expect(refusal?.message).toBe(node.lines.of('a peer was turned away')[0]?.['why']);
    expect([refused(code), told(code)]).toEqual([1, 1]);
    await unharmed();
  });

  it('a node that takes the name of another has not its certificate', async () => {
    introduce(node, peer, new PeerNode('n3', {}));
    expect(await said(authority.tls('c', 'n3'), helloBatch(HELLO))).toBe('identity');
    expect(refused('identity')).toBe(1);
    await unharmed();
  });

  it.each([
    ['another cluster', 'fluxmq://other/n2'],
    ['another node', 'fluxmq://c/n3'],
    ['no node', 'https://example.org/n2'],
    ['a node in another way', 'fluxmq://c/n2/x'],
  ])('a certificate of our authority for %s is none', async (_what, uri) => {
    const stranger = visit(authority.tls('c', 'n2', uri), helloBatch(HELLO));
    expect((await stranger.closed()).kinds).not.toContain(FrameKind.hello);
    expect(refused('identity')).toBe(1);
    await unharmed();
  });

  it('a certificate of another authority, or none, ends in the handshake', async () => {
    const other = new Authority('other').tls('c', 'n2');
    const { ca } = authority.tls('c', 'n2');
    expect(await said({ ...other, ca }, helloBatch(HELLO))).toBeUndefined();
    const bare = connectTls({
      host: '127.0.0.1',
      port: node.port,
      ca,
      checkServerIdentity: () => undefined,
    });
    await new Stranger(bare).closed();
    await until(() => refused('tls') >= 2);
    // Told once in an interval, however many come.
    expect(told('tls')).toBe(1);
    await unharmed();
  });

  it('TLS before version 1.3 is refused', async () => {
    const { ca, key, cert } = authority.tls('c', 'n2');
    const options = { host: '127.0.0.1', port: node.port, ca, key, cert, maxVersion: 'TLSv1.2' };
    const socket = connectTls({ ...options, maxVersion: 'TLSv1.2' });
    await once(socket, 'error');
    await until(() => refused('tls') === 1);
    await unharmed();
  });

  it.each([
    ['random bytes', () => randomBytes(4_000)],
    ['a request of HTTP', () => Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['nothing', () => Buffer.alloc(0)],
  ])('%s instead of TLS: closed', async (_what, bytes) => {
    const socket = connectTcp(node.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.end(bytes());
    socket.resume();
    await once(socket, 'close');
    await until(() => refused('tls') === 1);
    expect(told('tls')).toBe(1);
    await unharmed();
  });

  it.each([
    ['random bytes', Buffer.alloc(300, 0xa7)],
    ['a sign of life', encodeBatch([])],
    ['a refusal', refusalBatch(new PeerError('silent', 'x'))],
    ['a message before the hello', messageBatch(heartbeat('n2', 'n1', 1))],
    ['a hello backwards', Buffer.from(helloBatch(HELLO)).reverse()],
    ['a hello with a flipped bit', flipped(helloBatch(HELLO), 30)],
    ['two hellos in one', encodeBatch([helloFrame, helloFrame])],
  ])('%s instead of a hello: closed as malformed', async (_what, bytes) => {
    expect(await said(authority.tls('c', 'n2'), bytes)).toBe('malformed');
    expect([refused('malformed'), told('malformed')]).toEqual([1, 1]);
    await unharmed();
  });

  it('more than a hello is refused by its head alone', async () => {
    expect(await said(authority.tls('c', 'n2'), headOf(1_025))).toBe('malformed');
    await unharmed();
  });

  it('half a hello is waited for, and no longer than for a whole one', async () => {
    const half = helloBatch(HELLO).subarray(0, 40);
    expect(await said(authority.tls('c', 'n2'), half)).toBe('silent');
    await unharmed();
  });

  it('a hello that comes byte by byte is one', async () => {
    introduce(node, peer, new PeerNode('n3', {}));
    const stranger = visit(authority.tls('c', 'n3'));
    for (const byte of helloBatch({ ...HELLO, from: 'n3' })) {
      await new Promise((resolve) => {
        stranger.socket.write(Buffer.of(byte), resolve);
      });
    }
    await until(() => stranger.batches.length > 0);
    expect(stranger.kinds).toEqual([FrameKind.hello]);
  });

  it('a link takes no more at a time than one of its batches', async () => {
    introduce(node, peer, new PeerNode('n3', {}));
    const user = () => ({
      received: () => undefined,
      room: () => undefined,
      down: () => undefined,
    });
    node.transport.link({ opened: user, accepted: user });
    const hello = helloBatch({ ...HELLO, from: 'n3', channel: 'link' });
    const head = headOf(REQUEST_BYTES_MAX + 1);
    expect(await said(authority.tls('c', 'n3'), hello, head)).toBe('malformed');
    await unharmed();
  });

  it('signs of life behind a good hello are none of its business', async () => {
    introduce(node, peer, new PeerNode('n3', {}));
    const hello = helloBatch({ ...HELLO, from: 'n3' });
    const stranger = visit(authority.tls('c', 'n3'), hello, encodeBatch([]), encodeBatch([]));
    await until(() => stranger.batches.length > 0);
    const after = messageBatch(heartbeat('n3', 'n1', 1));
    stranger.socket.write(after);
    expect((await stranger.closed()).kinds).toEqual([FrameKind.hello, FrameKind.refusal]);
  });

  it.each([
    ['a message', messageBatch(heartbeat('n3', 'n1', 1))],
    ['another hello', helloBatch({ ...HELLO, from: 'n3' })],
  ])('%s behind a good hello ends the stream: this port takes none', async (_what, batch) => {
    introduce(node, peer, new PeerNode('n3', {}));
    const hello = helloBatch({ ...HELLO, from: 'n3' });
    expect(await said(authority.tls('c', 'n3'), hello, batch)).toBe('malformed');
    await unharmed();
  });

  it('who says nothing is closed in time', async () => {
    expect(await said(authority.tls('c', 'n2'))).toBe('silent');
    await unharmed();
  });

  it('a newer stream of a peer takes the place of the older one', async () => {
    const stranger = visit(authority.tls('c', 'n2'), helloBatch({ ...HELLO, incarnation: 5 }));
    await until(() => stranger.batches.length === 1);
    // The real one comes back, and ends this one in turn.
    expect((await stranger.closed()).kinds).toEqual([FrameKind.hello]);
    await connected(node, peer);
  });
});

describe('S10: without TLS', () => {
  it('more connections than all nodes need are closed at once', async () => {
    const plain = await plainNode();
    for (let made = 0; made < CONNECTIONS_MAX + 3; made += 1) {
      open.push(new Stranger(connectTcp(plain.port, '127.0.0.1')));
    }
    await until(() => refused('crowded', plain) === 3);
    expect(told('crowded', plain)).toBe(1);
  });

  it.each([
    ['random bytes', Buffer.alloc(1_000, 0xa7), 'malformed'],
    ['a request of HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 'malformed'],
    ['nothing', Buffer.alloc(0), 'silent'],
    ['half a hello', helloBatch(HELLO).subarray(0, 40), 'silent'],
  ] as const)('%s and an end close the connection, and are counted', async (_w, bytes, code) => {
    const plain = await plainNode();
    const { socket } = new Stranger(connectTcp(plain.port, '127.0.0.1'));
    await once(socket, 'connect');
    socket.end(bytes);
    await until(() => refused(code, plain) === 1);
    expect(told(code, plain)).toBe(1);
  });
});

describe('a node of version 1, which spoke gRPC', () => {
  it.each([true, false])('is told from others when it connects (TLS: %s)', async (isSecure) => {
    const target = isSecure ? node : await plainNode();
    const { ca, key, cert } = authority.tls('c', 'n2');
    const verify = { checkServerIdentity: () => undefined };
    const client = new Client(
      `127.0.0.1:${target.port}`,
      isSecure
        ? ChannelCredentials.createSsl(ca, Buffer.from(key), cert, verify)
        : ChannelCredentials.createInsecure(),
      { 'grpc.ssl_target_name_override': 'x' },
    );
    open.push(client);
    const asIs = (bytes: Buffer): Buffer => bytes;
    const path = '/fluxmq.raft.v1.PeerStreams/Receive';
    client.makeBidiStreamRequest(path, asIs, asIs, new Metadata()).on('error', () => undefined);
    await until(() => refused('version', target) >= 1);
    expect(target.lines.of('a peer was turned away')[0]).toMatchObject({
      why: 'it speaks HTTP/2, as version 1 of the protocol did',
    });
  });
});
