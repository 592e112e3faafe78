/** The keys of `cluster`: together they make sense, or the start is refused in words. */

import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig } from '../../src/config/config.ts';
import { shardSettings } from '../../src/options.ts';

function refusal(...overrides: readonly string[]): string {
  try {
    parseConfig({ overrides });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'accepted';
}

const peers = (...addresses: readonly string[]): string => {
  const list = addresses.map((addr, index) => `{id: node-${index + 1}, addr: "${addr}"}`);
  return `cluster.peers=[${list.join(', ')}]`;
};

const HERE = ['cluster.listen=127.0.0.1:7001', peers('127.0.0.1:7001', '127.0.0.1:7002')];
const TLS = ['cluster.tls={cert: a.crt, key: a.key, ca: ca.crt}'];
const outside = (listen: string): string[] => [
  `cluster.listen=${listen}`,
  peers('10.0.0.1:7000', '10.0.0.2:7000'),
];

describe('cluster', () => {
  it('a broker alone says nothing of it', () => {
    const { cluster } = parseConfig({});
    expect(cluster).toMatchObject({ id: 'fluxmq', listen: undefined, peers: [] });
  });

  it('the nodes with their addresses are read', () => {
    const { cluster } = parseConfig({ overrides: HERE });
    expect(cluster.peers).toEqual([
      { id: 'node-1', addr: { host: '127.0.0.1', port: 7001 } },
      { id: 'node-2', addr: { host: '127.0.0.1', port: 7002 } },
    ]);
  });

  it('has one shard for each node, unless the file says how many', () => {
    const count = (...overrides: readonly string[]): number =>
      shardSettings(parseConfig({ overrides }), '/data', false).shards.count;
    expect(count()).toBe(1);
    expect(count(...HERE)).toBe(2);
    expect(count(...HERE, 'cluster.shards=auto')).toBe(2);
    expect(count(...HERE, 'cluster.shards=1')).toBe(1);
    expect(count(...HERE, 'cluster.shards=7')).toBe(7);
  });

  it.each([
    [['cluster.listen=127.0.0.1:7001'], 'cluster.listen: nobody would connect'],
    [[peers('127.0.0.1:7001')], 'cluster.peers: the others could not reach this node'],
    [[...HERE, 'cluster.replicas=2'], 'cluster.replicas: 2 replicas bear no more losses than 1'],
    [[...HERE, 'cluster.shards=65'], "cluster.shards: '65' is not within 1 to 64"],
    [[...HERE, 'cluster.shards=many'], "cluster.shards: 'many' is not a whole number"],
    [[...HERE, 'node.id=other'], 'cluster.peers: has no other: the list names all nodes'],
    [
      [HERE[0] ?? '', peers('127.0.0.1:7001', '127.0.0.1:7001')],
      "cluster.peers[1].addr: '127.0.0.1:7001' is that of peers[0] too",
    ],
    [
      [
        'cluster.listen=127.0.0.1:1',
        'cluster.peers=[{id: node-1, addr: a:1}, {id: node-1, addr: b:1}]',
      ],
      "cluster.peers[1].id: 'node-1' is that of peers[0] too",
    ],
    [
      [HERE[0] ?? '', peers('127.0.0.1:7001'), 'cluster.join=true'],
      'cluster.join: has nobody to join: cluster.peers names no other node',
    ],
    [['cluster.peers=[{id: node-1}]'], "cluster.peers[0].addr: '' is not an address"],
    [['cluster.peers=[{addr: "a:1"}]'], 'cluster.peers[0].id: is empty: a node needs an id'],
    [['cluster.peers=[{id: a/b, addr: "a:1"}]'], 'cluster.peers[0].id: must be 1 to 64'],
    [['cluster.peers=[{id: a, addr: off}]'], "cluster.peers[0].addr: 'off' is not an address"],
    [[HERE[0] ?? '', peers('127.0.0.1:0')], 'cluster.peers[0].addr: needs a port other than 0'],
    [[HERE[0] ?? '', peers(':7000')], 'cluster.peers[0].addr: needs a host'],
    [['cluster.id=a b'], 'cluster.id: must be 1 to 64'],
    [['cluster.peer=[]'], 'cluster.peer: unknown key: did you mean peers?'],
    [['cluster.tls.crt=a'], 'cluster.tls.crt: unknown key: did you mean cert?'],
    [['cluster.etcd.mode=embedded'], 'cluster.etcd: not available in this version'],
    [[...HERE, 'cluster.tls.cert=a'], 'cluster.tls.key: is not set: cert, key and ca belong'],
    [[...HERE, ...TLS, 'cluster.allow_plaintext=true'], 'cluster.allow_plaintext: has no effect'],
    [TLS, 'cluster.tls: has no effect on a single broker'],
    [
      [...HERE, 'cluster.listen=127.0.0.1:1883'],
      'cluster.listen: 127.0.0.1:1883 is the address of server.mqtt.tcp.addr too',
    ],
  ])('%j: %s', (overrides, text) => {
    expect(refusal(...overrides)).toContain(text);
  });

  it.each(['0.0.0.0:7000', ':7000', '10.0.0.1:7000', 'localhost:7000'])(
    'traffic that leaves the machine needs TLS, or the words that it does not (listen on %s)',
    (listen) => {
      const open = outside(listen);
      expect(refusal(...open)).toContain('set cluster.tls (fluxmq cert makes the files), or say');
      expect(refusal(...open, 'cluster.allow_plaintext=true')).toBe('accepted');
      expect(refusal(...open, ...TLS)).toBe('accepted');
    },
  );

  it('within the machine neither is needed', () => {
    expect(refusal(...HERE)).toBe('accepted');
    expect(refusal('cluster.listen=[::1]:7001', peers('localhost:7001', '[::1]:7002'))).toBe(
      'accepted',
    );
  });
});
