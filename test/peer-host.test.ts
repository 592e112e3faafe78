/**
 * The streams to other nodes are opened from files and settings, or the start is refused with the
 * key that is at fault, also when the refusal comes from another thread.
 */

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PeerTls, readPeerTls } from '../src/cluster/peer-tls.ts';
import type { PeerTransport } from '../src/cluster/peer-transport.ts';
import { METRICS } from '../src/ops/metric-table.ts';
import type { PeerSettings } from '../src/options.ts';
import { openPeers } from '../src/peer-host.ts';
import { PeerStartError } from '../src/peer-start-error.ts';
import { errorOf, refusalOf } from '../src/worker-talk.ts';
import { freePort } from '../jepsen/cluster/free-port.ts';
import { Authority, Lines, until } from './support/peer-world.ts';

const authority = new Authority();
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-peers-'));
  await writeFile(join(folder, 'junk'), 'no PEM');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function filesOf(name: string, tls: PeerTls): Promise<NonNullable<PeerSettings['tls']>> {
  const path = (what: string): string => join(folder, `${name}.${what}`);
  for (const what of ['cert', 'key', 'ca'] as const) await writeFile(path(what), tls[what]);
  return { cert: path('cert'), key: path('key'), ca: path('ca') };
}

const open: PeerTransport[] = [];

async function refusal(settings: Partial<PeerSettings>): Promise<PeerStartError> {
  const whole: PeerSettings = {
    cluster: 'c',
    listen: { host: '127.0.0.1', port: 0 },
    nodes: [],
    tls: undefined,
    backlogBytes: 1 << 20,
    catchUpBytesPerSecond: 1 << 24,
    rejects: false,
    readsReplica: true,
    reattachGraceMs: 2_000,
    startGraceMs: 10_000,
    joins: false,
    ...settings,
  };
  const opened = await openPeers('n1', whole, new Lines()).catch((error: unknown) => error);
  if (opened instanceof PeerStartError) return opened;
  open.push(opened as PeerTransport);
  throw new Error('it was opened');
}

describe('openPeers', () => {
  it('two nodes with files of one authority find each other, and say what they count', async () => {
    const ports = [await freePort(), await freePort()];
    const nodes = ports.map((port, index) => ({ id: `n${index + 1}`, host: '127.0.0.1', port }));
    const transports = await Promise.all(
      nodes.map(async ({ id, port }) =>
        openPeers(
          id,
          {
            cluster: 'c',
            listen: { host: '127.0.0.1', port },
            nodes,
            tls: await filesOf(id, authority.tls('c', id)),
            backlogBytes: 1 << 20,
            catchUpBytesPerSecond: 1 << 24,
            rejects: false,
            readsReplica: true,
            reattachGraceMs: 2_000,
            startGraceMs: 10_000,
            joins: false,
          },
          new Lines(),
        ),
      ),
    );
    await until(() =>
      transports.every(({ peers }) => peers.every((peer) => peer.sending && peer.receiving)),
    );
    const names = METRICS.flatMap(({ series }) => series.map(({ from }) => from));
    const counted = [...(transports[0]?.stats() ?? [])].map(([name]) => name);
    expect(counted.sort()).toEqual(names.filter((name) => /^peers?[-/]/.test(name)).sort());
    await Promise.all(transports.map((transport) => transport.stop()));
  });

  it('a port that is taken is told by its key', async () => {
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const error = await refusal({ listen: { host: '127.0.0.1', port } });
    expect(error).toMatchObject({ key: 'cluster.listen', isAboutListening: true });
    expect(error.message).toContain(`cannot listen for other nodes on 127.0.0.1:${port}: `);
    taken.close();
  });

  it.each([
    ['cert', 'none', /none cannot be read: ENOENT/],
    ['key', 'none', /none cannot be read: ENOENT/],
    ['ca', 'none', /none cannot be read: ENOENT/],
    ['cert', 'junk', /junk is no certificate in PEM/],
    ['key', 'junk', /junk is no private key \(not encrypted\) in PEM/],
    ['ca', 'junk', /junk is no certificate in PEM/],
  ] as const)('%s that is %s is refused', async (key, name, text) => {
    const good = await filesOf('good', authority.tls('c', 'n1'));
    const error = await refusal({ tls: { ...good, [key]: join(folder, name) } });
    expect(error).toMatchObject({ key: `cluster.tls.${key}`, isAboutListening: false });
    expect(error.message).toMatch(text);
  });

  it.each([
    [
      'fluxmq://c/n2',
      /names fluxmq:\/\/c\/n2, and this node is fluxmq:\/\/c\/n1: fluxmq cert node/,
    ],
    ['fluxmq://d/n1', /names fluxmq:\/\/d\/n1, and this node is/],
    ['https://n1', /names no node, and this node is/],
  ])('the certificate of another (%s) is refused', async (uri, text) => {
    const tls = await filesOf('other', authority.tls('c', 'n1', uri));
    const error = await refusal({ tls });
    expect(error).toMatchObject({ key: 'cluster.tls.cert' });
    expect(error.message).toMatch(text);
  });

  it('the key of another certificate is refused', async () => {
    const tls = await filesOf('mixed', authority.tls('c', 'n1'));
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(tls.key, privateKey.export({ format: 'pem', type: 'pkcs8' }));
    const error = await refusal({ tls });
    expect([error.key, error.message]).toEqual([
      'cluster.tls.key',
      `${tls.key} is not the key of ${tls.cert}`,
    ]);
  });

  it('a certificate that has expired is refused', async () => {
    const files = await filesOf('old', authority.tls('c', 'n1'));
    const self = { cluster: 'c', node: 'n1' };
    await expect(readPeerTls(files, self, Date.now())).resolves.toHaveProperty('cert');
    const later = readPeerTls(files, self, Date.now() + 86_400_000);
    await expect(later).rejects.toThrow(/old.cert was good until .* GMT/);
  });

  it('a refusal comes over to another thread as what it was', () => {
    const error = new PeerStartError('cluster.tls.ca', 'words');
    const crossed = errorOf(structuredClone(refusalOf(error)));
    expect(crossed).toBeInstanceOf(PeerStartError);
    expect(crossed).toMatchObject({ key: 'cluster.tls.ca', message: 'words' });
  });
});
