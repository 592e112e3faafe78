/**
 * The configuration file of each node. The queue of the run never gives up on a message, so that
 * none leaves it but by a settlement, and gives back soon what a dead consumer held.
 */

import type { ClusterNetwork } from './network.ts';
import { addressText } from './network.ts';

export const QUEUE = 'jepsen';
export const CLUSTER_ID = 'jepsen';
/** One consumer at a time: order can be judged through every fault. */
export const SOLE_GROUP = 'sole';
/** A consumer on each node. */
export const TEAM_GROUP = 'team';

const DELIVERY_LIMIT = 1_000_000;
const VISIBILITY_TIMEOUT = '10s';

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface ConfigurationParts {
  readonly node: string;
  readonly nodes: readonly string[];
  readonly dataDirectory: string;
  readonly network: ClusterNetwork;
  readonly certificates: CertificateFiles | undefined;
}

/** As JSON, which YAML reads. */
export function configurationOf(parts: ConfigurationParts): string {
  const { node, nodes, dataDirectory, network, certificates } = parts;
  const { mqtt, ops, peer } = network.addresses(node);
  const peers = nodes.map((id) => ({ id, addr: addressText(network.peerAddress(node, id)) }));
  const cluster = {
    id: CLUSTER_ID,
    listen: addressText(peer),
    peers,
    ...(certificates !== undefined && { tls: certificates }),
  };
  const configuration = {
    node: { id: node },
    data_dir: dataDirectory,
    // Outside of loopback it has to be said; the addresses are the run's own.
    allow_anonymous: network.needsTls,
    server: {
      mqtt: { tcp: { addr: addressText(mqtt) } },
      ops: { addr: addressText(ops) },
    },
    // A run of hours must not fill the disk, nor keep everything in one segment.
    storage: { segment_size: '16MiB', window: '64MiB', reserve: '64MiB' },
    queues: [
      {
        name: QUEUE,
        visibility_timeout: VISIBILITY_TIMEOUT,
        delivery_limit: DELIVERY_LIMIT,
        retry: { min: '10ms', max: '1s' },
        groups: [{ name: SOLE_GROUP }, { name: TEAM_GROUP }],
      },
    ],
    log: { level: 'info', format: 'json' },
    ...(nodes.length > 1 && { cluster }),
  };
  return `${JSON.stringify(configuration, undefined, 2)}\n`;
}

/** The same with `cluster.join`. */
export function joining(text: string): string {
  const configuration = JSON.parse(text) as { readonly cluster: object };
  const cluster = { ...configuration.cluster, join: true };
  return `${JSON.stringify({ ...configuration, cluster }, undefined, 2)}\n`;
}
