/**
 * What a cluster of one needs of its peers: nothing. No message has a receiver, and nobody is ever
 * behind.
 */

import type { CatchUpPorts, Network } from '#raft';

export const noNetwork: Network = {
  send: () => false,
  hasRoom: () => false,
  listen: () => undefined,
};

export const noCatchUp: CatchUpPorts = {
  source: { open: () => Promise.resolve(undefined) },
  sink: {
    begin: () => Promise.reject(new Error('a node without peers gets no checkpoint')),
    forget: () => undefined,
  },
  checksum: () => 0,
  failed: () => undefined,
};
