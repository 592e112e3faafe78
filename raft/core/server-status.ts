/** A copy of what a server knows of itself, as `Status`: see there. */

import type { Server } from './server.ts';
import type { Status } from './status.ts';

export function statusOf(server: Server): Status {
  const { replica, applying, leading, transfer, reads, forwardedReads, peers } = server;
  const { log } = replica;
  return {
    id: replica.id,
    role: replica.role,
    term: replica.term,
    vote: replica.vote,
    leader: replica.leader,
    configuration: replica.configurations.current,
    start: log.start,
    accepted: log.last,
    lastTerm: log.lastTerm,
    submitted: log.submitted,
    durable: log.durable,
    commitIndex: replica.commitIndex,
    applying: applying.applying,
    applied: replica.applied,
    uncommittedBytes: leading.uncommittedBytes,
    tailEntries: log.tailEntries,
    tailBytes: log.tailBytes,
    pendingReads: reads.pending + forwardedReads.pending,
    transferTo: transfer.to,
    faulty: replica.faults.list,
    tailLost: replica.tailLost,
    stateLost: replica.stateLost,
    survivors: server.survivors.list,
    peers: peers.list.map((peer) => peer.status(peers.isActive(peer))),
  };
}
