/** The log of a cluster of one over a real storage log; no time passes in it. */

import type { RecordStore } from '../../storage/storage.ts';
import type { Log } from '../../storage/log/log.ts';
import { RaftLog } from '../../src/shard/raft-log.ts';
import { noCatchUp, noNetwork } from '../../src/shard/single-node.ts';
import type { Clock } from '../../raft/raft.ts';

/** Ticks never come: a cluster of one needs none. */
const stillClock: Clock = {
  monotonicMs: () => 0,
  after: () => ({ cancel: () => undefined }),
  every: () => ({ cancel: () => undefined }),
  soon: (action) => queueMicrotask(action),
  later: (action) => void setImmediate(action),
};

export function loneRaftLog(
  log: Log,
  records: Pick<RecordStore, 'checkpoint'>,
  id = 'node-1',
): Promise<RaftLog> {
  return RaftLog.open({
    log,
    openRepairs: () => Promise.resolve(undefined),
    id,
    founders: { members: [{ id, role: 'voter', address: '' }] },
    checkpoint: records.checkpoint,
    network: noNetwork,
    catchUp: noCatchUp,
    clock: stillClock,
    random: () => 0,
    heldBytesMax: { transfers: 0, current: 0 },
    replaced: () => undefined,
  });
}
