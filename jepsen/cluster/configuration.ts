/** The configuration file of each node. The queues of a run are declared when all nodes serve. */

import type { ClusterNetwork } from './network.ts';
import { addressText } from './network.ts';

export const CLUSTER_ID = 'jepsen';

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
  /** Undefined: the broker's default. */
  readonly shards: number | undefined;
}

/** As JSON, which YAML reads. */
export function configurationOf(parts: ConfigurationParts): string {
  const { node, nodes, dataDirectory, network, certificates, shards } = parts;
  const { mqtt, ops, peer } = network.addresses(node);
  const peers = nodes.map((id) => ({ id, addr: addressText(network.peerAddress(node, id)) }));
  const cluster = {
    id: CLUSTER_ID,
    listen: addressText(peer),
    peers,
    ...(certificates !== undefined && { tls: certificates }),
    ...(shards !== undefined && { shards }),
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
