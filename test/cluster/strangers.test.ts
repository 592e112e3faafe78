/**
 * S10: who is no node of this cluster, or sends what no node would, is closed, counted, and told in
 * the log once in an interval; the replicas hear nothing of it, and the real peers go on.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type Socket, connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  type ChannelCredentials,
  type ClientDuplexStream,
  type ServerDuplexStream,
  type StatusObject,
  Client,
  Metadata,
  Server,
  ServerCredentials,
  credentials,
  status,
} from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PeerMessage } from '#raft';
import { FrameKind, encodeBatch } from '../../src/cluster/batch.ts';
import type { FrameWriter } from '../../src/cluster/frame-bytes.ts';
import { type Hello, helloBytes, writeHello } from '../../src/cluster/hello.ts';
import { messageBytes, writeMessage } from '../../src/cluster/message-codec.ts';
import { CONNECTIONS_MAX } from '../../src/cluster/peer-limits.ts';
import { PEER_SERVICE, RECEIVE } from '../../src/cluster/peer-service.ts';
import type { PeerTls } from '../../src/cluster/peer-tls.ts';
import type { PeerRefusal } from '../../src/cluster/refusals.ts';
import { Authority, PeerNode, append, connected } from '../support/peer-world.ts';
import { heartbeat, introduce, until } from '../support/peer-world.ts';

const authority = new Authority();
const HELLO: Hello = {
  oldest: 1,
  newest: 1,
  channel: 'control',
  incarnation: 1,
  cluster: 'c',
  from: 'n2',
  to: 'n1',
};

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

function helloBatch(hello: Hello, then?: (body: Buffer) => void): Buffer {
  const write = (writer: FrameWriter): void => writeHello(hello, writer);
  const batch = encodeBatch([{ kind: FrameKind.hello, shard: 0, bytes: helloBytes(hello), write }]);
  then?.(batch);
  return batch;
}

function messageBatch(...messages: readonly PeerMessage[]): Buffer {
  return encodeBatch(
    messages.map((message) => ({
      kind: FrameKind.message,
      shard: 1,
      bytes: messageBytes(message),
      write: (writer: FrameWriter) => writeMessage(message, writer),
    })),
  );
}

function secure({ ca, key, cert }: PeerTls): ChannelCredentials {
  const verify = { checkServerIdentity: () => undefined };
  return credentials.createSsl(ca, Buffer.from(key), cert, verify);
}

function callTo(port: number, with_: ChannelCredentials): ClientDuplexStream<Buffer, Buffer> {
  const client = new Client(`127.0.0.1:${port}`, with_, {
    'grpc.ssl_target_name_override': 'x',
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  });
  open.push(client);
  const { path, requestSerialize, responseDeserialize } = RECEIVE;
  const metadata = new Metadata();
  return client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
}

/** What becomes of a stream that says this. */
async function said(tls: PeerTls, ...batches: readonly Buffer[]): Promise<StatusObject> {
  const call = callTo(node.port, secure(tls));
  call.on('error', () => undefined).on('data', () => undefined);
  for (const batch of batches) call.write(batch);
  return statusOf(call);
}

function statusOf(call: ClientDuplexStream<Buffer, Buffer>): Promise<StatusObject> {
  return new Promise((resolve) => {
    call.once('status', resolve);
  });
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
    ['speaks an old version', { oldest: 0, newest: 0 }, 'version'],
    ['speaks a later version only', { oldest: 7, newest: 9 }, 'version'],
  ] as const)('who %s is refused, and hears why', async (_what, change, code) => {
    const ended = await said(authority.tls('c', 'n2'), helloBatch({ ...HELLO, ...change }));
    expect(ended.code).toBe(status.PERMISSION_DENIED);
    expect(ended.metadata.get('fluxmq-refusal')).toEqual([code]);
    expect([refused(code), told(code)]).toEqual([1, 1]);
    await unharmed();
  });

  it('a node that takes the name of another has not its certificate', async () => {
    introduce(node, peer, new PeerNode('n3', {}));
    const ended = await said(authority.tls('c', 'n3'), helloBatch(HELLO));
    expect(ended.metadata.get('fluxmq-refusal')).toEqual(['identity']);
    expect(refused('identity')).toBe(1);
    await unharmed();
  });

  it.each([
    ['another cluster', 'fluxmq://other/n2'],
    ['another node', 'fluxmq://c/n3'],
    ['no node', 'https://example.org/n2'],
    ['a node in another way', 'fluxmq://c/n2/x'],
  ])('a certificate of our authority for %s is none', async (_what, uri) => {
    const ended = await said(authority.tls('c', 'n2', uri), helloBatch(HELLO));
    expect(ended.code).not.toBe(status.OK);
    expect(refused('identity')).toBe(1);
    await unharmed();
  });

  it('a certificate of another authority, or none, ends in the handshake', async () => {
    const other = new Authority('other').tls('c', 'n2');
    const { ca } = authority.tls('c', 'n2');
    expect((await said({ ...other, ca }, helloBatch(HELLO))).code).toBe(status.UNAVAILABLE);
    const bare = callTo(node.port, credentials.createSsl(ca, null, null));
    bare.on('error', () => undefined).on('data', () => undefined);
    bare.write(helloBatch(HELLO));
    await statusOf(bare);
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
    ['random bytes', randomBytes(300)],
    ['nothing', Buffer.alloc(0)],
    ['a message before the hello', messageBatch(heartbeat('n2', 'n1', 1))],
    ['a hello backwards', helloBatch(HELLO, (batch) => batch.reverse())],
    ['half a hello', helloBatch(HELLO).subarray(0, 20)],
    ['two hellos in one', Buffer.concat([helloBatch(HELLO), helloBatch(HELLO)])],
  ])('%s instead of a hello: closed as malformed', async (_what, bytes) => {
    const ended = await said(authority.tls('c', 'n2'), bytes);
    expect(ended.metadata.get('fluxmq-refusal')).toEqual(['malformed']);
    expect([refused('malformed'), told('malformed')]).toEqual([1, 1]);
    await unharmed();
  });

  it('more than a hello is malformed, and more than a batch of a link is not even read', async () => {
    const long = await said(authority.tls('c', 'n2'), Buffer.alloc(1_025));
    expect(long.metadata.get('fluxmq-refusal')).toEqual(['malformed']);
    const longer = await said(authority.tls('c', 'n2'), Buffer.alloc(258 << 10));
    expect(longer.code).toBe(status.RESOURCE_EXHAUSTED);
    await unharmed();
  });

  it('a channel by the method of another is malformed', async () => {
    const ended = await said(authority.tls('c', 'n2'), helloBatch({ ...HELLO, channel: 'link' }));
    expect(ended.metadata.get('fluxmq-refusal')).toEqual(['malformed']);
    await unharmed();
  });

  it.each([
    ['a message', messageBatch(heartbeat('n3', 'n1', 1))],
    ['another hello', helloBatch({ ...HELLO, from: 'n3' })],
  ])('%s behind a good hello ends the stream: this port takes none', async (_what, batch) => {
    introduce(node, peer, new PeerNode('n3', {}));
    const hello = helloBatch({ ...HELLO, from: 'n3' });
    const ended = await said(authority.tls('c', 'n3'), hello, batch);
    expect(ended.metadata.get('fluxmq-refusal')).toEqual(['malformed']);
    await unharmed();
  });

  it('who says nothing is closed in time', async () => {
    const ended = await said(authority.tls('c', 'n2'));
    expect(ended.metadata.get('fluxmq-refusal')).toEqual(['silent']);
    await unharmed();
  });

  it('a newer stream of a peer takes the place of the older one', async () => {
    const call = callTo(node.port, secure(authority.tls('c', 'n2')));
    const batches: Buffer[] = [];
    call.on('error', () => undefined).on('data', (batch: Buffer) => batches.push(batch));
    call.write(helloBatch({ ...HELLO, incarnation: 5 }));
    await until(() => batches.length === 1);
    // The real one comes back, and ends this one in turn.
    const ended = await statusOf(call);
    expect(ended.code).toBe(status.OK);
    await connected(node, peer);
  });
});

describe('S10: without TLS', () => {
  it('more connections than all nodes need are closed at once', async () => {
    const plain = new PeerNode('n1', {});
    open.push({ close: () => plain.transport.stop() });
    await plain.transport.start();
    const sockets: Socket[] = [];
    open.push({ close: () => sockets.forEach((socket) => socket.destroy()) });
    for (let made = 0; made < CONNECTIONS_MAX + 3; made += 1) {
      sockets.push(connectTcp(plain.port, '127.0.0.1').on('error', () => undefined));
    }
    await until(() => refused('crowded', plain) === 3);
    expect(told('crowded', plain)).toBe(1);
  });

  it('random bytes close the connection, and are counted', async () => {
    const plain = new PeerNode('n1', {});
    open.push({ close: () => plain.transport.stop() });
    await plain.transport.start();
    const socket: Socket = connectTcp(plain.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(randomBytes(1_000));
    socket.resume();
    await once(socket, 'close');
    await until(() => refused('silent', plain) === 1);
    expect(told('silent', plain)).toBe(1);
  });
});

describe('S10: at the address of a peer', () => {
  let impostor: Server;
  let calls: ServerDuplexStream<Buffer, Buffer>[] = [];

  /** A server at the address where the node looks for `n3`. */
  async function serve(tls: PeerTls, answer: (call: ServerDuplexStream<Buffer, Buffer>) => void) {
    impostor = new Server({ 'grpc.max_send_message_length': -1 });
    calls = [];
    const Receive = (call: ServerDuplexStream<Buffer, Buffer>): void => {
      calls.push(call);
      call.on('error', () => undefined).on('data', () => answer(call));
    };
    impostor.addService(PEER_SERVICE, { Receive });
    const pair = [{ private_key: Buffer.from(tls.key), cert_chain: tls.cert }];
    const secured = ServerCredentials.createSsl(tls.ca, pair, true);
    const port = await new Promise<number>((resolve, reject) => {
      impostor.bindAsync('127.0.0.1:0', secured, (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    open.push({ close: () => impostor.forceShutdown() });
    node.transport.setPeers([
      { id: 'n2', host: '127.0.0.1', port: peer.port },
      { id: 'n3', host: '127.0.0.1', port },
    ]);
  }

  const n3 = (): PeerTls => authority.tls('c', 'n3');
  const answer = (change: Partial<Hello> = {}): Buffer =>
    helloBatch({ ...HELLO, from: 'n3', ...change });

  it.each([
    ['another node of the cluster', () => authority.tls('c', 'n2')],
    ['a node of another cluster', () => authority.tls('other', 'n3')],
    ['nobody', () => authority.tls('c', 'n3', 'https://n3')],
  ])('%s is found out by its certificate, before it is told anything', async (_what, tls) => {
    await serve(tls(), (call) => call.write(answer()));
    await until(() => refused('identity') >= 2);
    expect(calls).toEqual([]);
    expect(told('identity')).toBe(1);
    await unharmed();
  });

  it('one with a certificate of another authority is not spoken to', async () => {
    await serve({ ...new Authority('other').tls('c', 'n3'), ca: n3().ca }, () => undefined);
    await until(() => node.lines.of('a peer cannot be reached').length >= 4);
    expect(calls).toEqual([]);
    await unharmed();
  });

  it.each([
    ['another cluster', { cluster: 'other' }, 'cluster'],
    ['another node', { from: 'n2' }, 'unknown-node'],
    ['another address', { to: 'n9' }, 'not-me'],
    ['another version', { oldest: 3, newest: 3 }, 'version'],
  ] as const)('one that answers for %s is left', async (_what, change, code) => {
    await serve(n3(), (call) => call.write(answer(change)));
    await until(() => refused(code) >= 1);
    expect(told(code)).toBe(1);
    await unharmed();
  });

  const good = heartbeat('n3', 'n1', 1);
  const flipped = (batch: Buffer, at: number): Buffer => {
    batch[at] = (batch[at] ?? 0) ^ 1;
    return batch;
  };

  it.each([
    ['a term of 2^50', () => messageBatch(good, { ...good, term: 2 ** 50 }), 'malformed'],
    ['a flipped bit', () => flipped(messageBatch(good, good), 40), 'malformed'],
    ['half a batch', () => messageBatch(good, good).subarray(0, 60), 'malformed'],
    ['random bytes', () => randomBytes(500), 'malformed'],
    ['a second hello', () => answer(), 'malformed'],
    [
      'a message in the name of another',
      () => messageBatch(good, append('n2', 'n1', 1, Buffer.from('forged'))),
      'identity',
    ],
    ['a message for another node', () => messageBatch(good, heartbeat('n3', 'n2', 1)), 'not-me'],
  ] as const)(
    'a peer that sends %s is left, and nothing of it is heard',
    async (_w, batch, code) => {
      await serve(n3(), (call) => {
        call.write(answer());
        call.write(batch());
      });
      await until(() => refused(code) >= 1);
      expect(told(code)).toBe(1);
      await unharmed();
    },
  );
});
