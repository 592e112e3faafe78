/**
 * S10: who answers at the address of a peer and is not that node, or sends what no node would, is
 * left and counted; the replicas hear nothing of it.
 */

import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { type Server, createServer } from 'node:tls';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { helloBatch, refusalBatch } from '../../src/cluster/greeting.ts';
import type { Hello } from '../../src/cluster/hello.ts';
import type { PeerTls } from '../../src/cluster/peer-tls.ts';
import { PeerError, type PeerRefusal } from '../../src/cluster/refusals.ts';
import { Authority, PeerNode, append, connected } from '../support/peer-world.ts';
import { heartbeat, introduce, until } from '../support/peer-world.ts';
import { HELLO, flipped, messageBatch } from '../support/strangers.ts';

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

describe('S10: at the address of a peer', () => {
  let hellos = 0;

  /** A server at the address where the node looks for `n3`; it says this to each hello. */
  async function serve({ ca, key, cert }: PeerTls, ...answers: (() => Buffer)[]): Promise<void> {
    hellos = 0;
    const impostor: Server = createServer({ ca, key, cert, requestCert: true }, (socket) => {
      socket
        .on('error', () => undefined)
        .once('data', () => {
          hellos += 1;
          for (const each of answers) socket.write(each());
        });
    });
    const sockets = new Set<Socket>();
    impostor.on('connection', (socket: Socket) => sockets.add(socket));
    impostor.listen(0, '127.0.0.1');
    await once(impostor, 'listening');
    const { port } = impostor.address() as AddressInfo;
    open.push({
      close: () => {
        impostor.close();
        for (const socket of sockets) socket.destroy();
      },
    });
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
    await serve(tls(), answer);
    await until(() => refused('identity') >= 2);
    expect(hellos).toBe(0);
    expect(told('identity')).toBe(1);
    await unharmed();
  });

  it('one with a certificate of another authority is not spoken to', async () => {
    await serve({ ...new Authority('other').tls('c', 'n3'), ca: n3().ca });
    await until(() => node.lines.of('a peer cannot be reached').length >= 4);
    expect(hellos).toBe(0);
    await unharmed();
  });

  it.each([
    ['another cluster', { cluster: 'other' }, 'cluster'],
    ['another node', { from: 'n2' }, 'unknown-node'],
    ['another address', { to: 'n9' }, 'not-me'],
    ['another version', { oldest: 3, newest: 3 }, 'version'],
  ] as const)('one that answers for %s is left', async (_what, change, code) => {
    await serve(n3(), () => answer(change));
    await until(() => refused(code) >= 1);
    expect(told(code)).toBe(1);
    await unharmed();
  });

  const good = heartbeat('n3', 'n1', 1);
  it.each([
    ['a term of 2^50', () => messageBatch(good, { ...good, term: 2 ** 50 }), 'malformed'],
    ['a flipped bit', () => flipped(messageBatch(good, good), 40), 'malformed'],
    ['a batch with zeros at its end', () => messageBatch(good, good).fill(0, 60), 'malformed'],
    ['a length above that of a batch', () => Buffer.alloc(8, 0xff), 'malformed'],
    [
      'a message in the name of another',
      () => messageBatch(good, heartbeat('n2', 'n1', 7)),
      'identity',
    ],
    ['a message for another node', () => messageBatch(good, heartbeat('n3', 'n2', 1)), 'not-me'],
  ] as const)(
    'a peer that sends %s is left, and nothing of it is heard',
    async (_w, batch, code) => {
      await serve(n3(), answer, batch);
      await until(() => refused(code) >= 1);
      expect(told(code)).toBe(1);
      await unharmed();
    },
  );

  it('entries on the channel of heartbeats are not heard', async () => {
    await serve(n3(), answer, () => messageBatch(append('n3', 'n1', 1, Buffer.from('x'))));
    const why = 'no frame of the protocol: appendEntries on another channel';
    await until(() => node.lines.of('a peer stream ended').some((line) => line['why'] === why));
    await unharmed();
  });

  it('that turns this node away tells why, and is asked again', async () => {
    await serve(n3(), () => refusalBatch(new PeerError('cluster', 'it belongs to cluster c\n')));
    const lines = (): Record<string, unknown>[] => node.lines.of('a peer cannot be reached');
    await until(() => lines().length >= 4);
    const heard = { refusal: 'cluster', why: 'it belongs to cluster c?' };
    for (const line of lines()) expect(line).toMatchObject(heard);
    await unharmed();
  });

  it('a node of version 1, which spoke gRPC, is told from others', async () => {
    const plain = new PeerNode('n1', {});
    open.push({ close: () => plain.transport.stop() });
    await plain.transport.start();
    const server = new GrpcServer();
    open.push({ close: () => server.forceShutdown() });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    plain.transport.setPeers([{ id: 'n2', host: '127.0.0.1', port }]);
    await until(() => refused('version', plain) >= 1);
  });
});
