/** A copy of what a server knows of itself, as `Status` or the `Cursors` of it: see there. */

import type { Server } from './server.ts';
import type { Cursors, Status } from './status.ts';

export function cursorsOf({ replica }: Server): Cursors {
  const { log } = replica;
  return {
    role: replica.role,
    term: replica.term,
    vote: replica.vote,
    configuration: replica.configurations.current,
    start: log.start,
    accepted: log.last,
    durable: log.durable,
    commitIndex: replica.commitIndex,
    faulty: replica.faults.list,
  };
}

export function statusOf(server: Server): Status {
  const { replica, applying, leading, transfer, reads, forwardedReads, peers } = server;
  const { log } = replica;
  return {
    ...cursorsOf(server),
    id: replica.id,
    leader: replica.leader,
    lastTerm: log.lastTerm,
    submitted: log.submitted,
    applying: applying.applying,
    applied: replica.applied,
    uncommittedBytes: leading.uncommittedBytes,
    tailEntries: log.tailEntries,
    tailBytes: log.tailBytes,
    pendingReads: reads.pending + forwardedReads.pending,
    transferTo: transfer.to,
    tailLost: replica.tailLost,
    stateLost: replica.stateLost,
    survivors: server.survivors.list,
    peers: peers.list.map((peer) => peer.status(peers.isActive(peer))),
  };
}
