/** The service `ClusterAdmin` over a real socket and real gRPC, on top of a node in memory. */

import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { AdminClient } from '../../src/admin/client.ts';
import { CLUSTER_REFUSALS, type ClusterAnswer } from '../../src/admin/cluster-port.ts';
import { ADMIN_DEFAULTS } from '../../src/admin/limits.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { AdminError } from '../../src/broker/ports.ts';
import { scratchDirectory } from '../support/broker-process.ts';
import { FakeClusterAdmin, replica } from '../support/fake-cluster-admin.ts';
import { silentLog } from '../support/silent-log.ts';

let folder = '';
let cluster: FakeClusterAdmin;
let server: AdminServer;
let client: AdminClient;

beforeEach(async () => {
  folder = await scratchDirectory('admin-cluster');
  cluster = new FakeClusterAdmin();
  const path = join(folder, 'admin.sock');
  const queues = (): never => {
    throw new AdminError('unavailable', 'no queue is served here yet');
  };
  const options = { place: { path, ownFolder: true }, limits: ADMIN_DEFAULTS };
  server = new AdminServer({ queues, cluster }, silentLog, options);
  await server.start();
  client = await AdminClient.open(path, 10_000);
});
afterEach(async () => {
  client.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('every call', () => {
  it('status: what is there and what is not arrive as they are', async () => {
    const progress = {
      state: 'catch-up',
      match: 2 ** 52,
      active: true,
      caughtUp: false,
      inReserve: true,
    } as const;
    cluster.node = {
      node: 'n1',
      cluster: 'c',
      address: '[::1]:7001',
      links: [{ id: 'n2', address: '[::1]:7000', sending: true, receiving: false }],
      replicas: [
        replica({
          role: 'leader',
          leader: 'n1',
          transferTo: 'n2',
          leaderLast: 2 ** 52,
          damagedRanges: 2,
          tailLost: true,
          members: [
            { id: 'n1', role: 'voter', address: 'a:1', progress: undefined },
            { id: 'n2', role: 'joining', address: '', progress },
            { id: 'n3+1', role: 'learner', address: 'é:1', progress },
          ],
        }),
        replica({ shard: 7, role: 'pre-candidate', leader: undefined }),
      ],
      elsewhere: [replica({ shard: 2, id: 'n3', role: 'leader', leader: 'n3' })],
      shards: [{ shard: 2, founders: ['n3', 'n2'], hosts: ['n3', 'n2', 'n4'] }],
    };
    expect(await client.cluster.status()).toEqual(cluster.node);
    cluster.node = {
      node: 'alone',
      cluster: undefined,
      address: undefined,
      links: [],
      replicas: [],
      elsewhere: [],
      shards: [],
    };
    expect(await client.cluster.status()).toEqual(cluster.node);
  });

  it('it is answered while no queue can be served yet, and queues are refused with a word', async () => {
    expect((await client.cluster.status()).node).toBe('n1');
    await expect(client.list('', 1)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a change is what was asked for', async () => {
    const added = { kind: 'add', id: 'n4', address: 'h:1', votes: true } as const;
    await client.cluster.change(3, added);
    await client.cluster.change(0, { kind: 'promote', id: 'n4' });
    await client.cluster.change(0, { kind: 'demote', id: 'n4' });
    await client.cluster.change(0, { kind: 'remove', id: 'n4' });
    await client.cluster.transfer(9, 'n2');
    await client.cluster.addShard(3);
    await client.cluster.host(3, 'n4', true);
    await client.cluster.host(3, 'n4', false);
    expect(cluster.asked).toEqual([
      `3 ${JSON.stringify(added)}`,
      '0 {"kind":"promote","id":"n4"}',
      '0 {"kind":"demote","id":"n4"}',
      '0 {"kind":"remove","id":"n4"}',
      '9 transfer n2',
      'add shard 3',
      '3 host n4',
      '3 unhost n4',
    ]);
  });

  it.each(CLUSTER_REFUSALS)(
    'the refusal %s comes with who leads, where that is known',
    async (code) => {
      const known: ClusterAnswer = { kind: 'refused', code, leader: 'n2' };
      const unknown: ClusterAnswer = { kind: 'refused', code, leader: undefined };
      cluster.answers.push(known, unknown);
      expect(await client.cluster.change(0, { kind: 'remove', id: 'n3' })).toEqual(known);
      expect(await client.cluster.transfer(0, 'n3')).toEqual(unknown);
    },
  );
});
