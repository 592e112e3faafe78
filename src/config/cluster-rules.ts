/**
 * What no single key of `cluster` can say: which of them go together, that this node is one of the
 * cluster, and that nothing leaves the machine unprotected unless somebody asked for just that. A
 * value that would have no effect is refused.
 */

import type { Config } from './keys.ts';
import type { Tell } from './problem.ts';
import type { Address } from './schema.ts';
import { isLoopback, quote, writeAddress } from './values.ts';

const TLS_KEYS = ['cert', 'key', 'ca'] as const;

export function checkCluster(config: Config, tell: Tell): void {
  checkPeers(config, tell);
  checkReplicas(config.cluster, tell);
  checkProtection(config.cluster, tell);
}

function checkPeers({ cluster, node }: Config, tell: Tell): void {
  const { listen, peers } = cluster;
  if (listen !== undefined && peers.length === 0) {
    tell('conflict', 'cluster.listen', 'nobody would connect: cluster.peers names no node');
  }
  if (listen === undefined && peers.length > 0) {
    tell('conflict', 'cluster.peers', 'the others could not reach this node: set cluster.listen');
  }
  if (cluster.join && peers.every(({ id }) => id === node.id)) {
    tell('conflict', 'cluster.join', 'has nobody to join: cluster.peers names no other node');
  }
  if (peers.length > 0 && !peers.some(({ id }) => id === node.id)) {
    const text = `has no ${node.id}: the list names all nodes, this one too (its node.id)`;
    tell('conflict', 'cluster.peers', text);
  }
  const taken = new Map<string, number>();
  for (const [index, { id, addr }] of peers.entries()) {
    const key = `cluster.peers[${index}]`;
    if (addr.port === 0) tell('conflict', `${key}.addr`, 'needs a port other than 0');
    if (isEverywhere(addr)) {
      tell('conflict', `${key}.addr`, 'needs a host: every interface is where to listen only');
    }
    for (const [name, value] of [
      ['id', id],
      ['addr', writeAddress(addr)],
    ] as const) {
      const first = taken.get(`${name} ${value}`);
      if (first === undefined) taken.set(`${name} ${value}`, index);
      else tell('conflict', `${key}.${name}`, `${quote(value)} is that of peers[${first}] too`);
    }
  }
}

function checkReplicas({ replicas }: Config['cluster'], tell: Tell): void {
  if (replicas % 2 === 1) return;
  const text = `${replicas} replicas bear no more losses than ${replicas - 1}: write 1, 3 or 5`;
  tell('conflict', 'cluster.replicas', text);
}

function isEverywhere({ host }: Address): boolean {
  return host === '::' || host === '0.0.0.0';
}

function checkProtection(cluster: Config['cluster'], tell: Tell): void {
  const { tls, listen, peers, allow_plaintext: plaintext } = cluster;
  const missing = TLS_KEYS.filter((key) => tls[key] === '');
  if (missing.length > 0 && missing.length < TLS_KEYS.length) {
    const text = `is not set: cert, key and ca belong together`;
    tell('conflict', `cluster.tls.${missing[0] ?? ''}`, text);
    return;
  }
  if (missing.length === 0) {
    if (listen === undefined) {
      tell('conflict', 'cluster.tls', 'has no effect on a single broker: cluster.listen is off');
    }
    if (plaintext) {
      tell('conflict', 'cluster.allow_plaintext', 'has no effect: cluster.tls protects all of it');
    }
    return;
  }
  const outside = [...(listen === undefined ? [] : [listen]), ...peers.map(({ addr }) => addr)];
  const open = outside.find(({ host }) => !isLoopback(host));
  if (open === undefined || plaintext) return;
  const text =
    `${writeAddress(open)} is outside this machine, and whoever is between could read and change ` +
    'everything: set cluster.tls (fluxmq cert makes the files), or say ' +
    'cluster.allow_plaintext: true';
  tell('conflict', 'cluster.listen', text);
}
