/**
 * Entry of the consensus library: what others may use of it. It knows nothing of queues, protocols
 * or etcd.
 */

export { Raft } from './core/raft.ts';
export type { RescueOrder } from './core/raft.ts';
export type { Survivor } from './core/survivors.ts';
export type { Checkpoint } from './core/installing.ts';
export type {
  Configuration,
  ConfigurationAt,
  Member,
  MemberRole,
  MembershipChange,
  Rescue,
} from './core/configuration.ts';
export { ENTRY_OVERHEAD_BYTES } from './core/entry.ts';
export type { Entry, EntryKind } from './core/entry.ts';
export type { LogIndex, ServerId, Term } from './core/ids.ts';
export { TERM_MAX } from './core/ids.ts';
export { LIMITS } from './core/limits.ts';
export { configurationOf, majority, votersOf } from './core/configuration.ts';
export { isBulk } from './core/message.ts';
export type { Message, RepairAnswer } from './core/message.ts';
export type { FaultyRange, Limits, RaftOptions, Recovered, TermStart } from './core/options.ts';
export {
  CHANGE_REFUSALS,
  INSTALL_REFUSALS,
  PROPOSE_REFUSALS,
  RESCUE_REFUSALS,
  TRANSFER_REFUSALS,
} from './core/outcome.ts';
export type {
  Changed,
  ChangeRefusal,
  InstallOutcome,
  InstallRefusal,
  Proposed,
  ProposeRefusal,
  RescueRefusal,
  Rescued,
  Transferred,
  TransferRefusal,
} from './core/outcome.ts';
export type {
  CatchUp,
  Fetch,
  HardState,
  Installed,
  Persist,
  Read,
  Ready,
  Role,
  SoftState,
} from './core/ready.ts';
export type { Cursors, PeerStatus, ProgressState, Status } from './core/status.ts';
export { LogDisk, hardStateIn } from './host/log-disk.ts';
export type { CommandsNote, LogDiskOptions } from './host/log-disk.ts';
export {
  ConfigurationError,
  decodeConfiguration,
  encodeConfiguration,
} from './host/configuration-codec.ts';
export { CATCH_UP_LIMITS } from './host/catch-up-messages.ts';
export type {
  CatchUpAnswer,
  CatchUpAsk,
  CatchUpEnd,
  CatchUpMessage,
  CatchUpOffer,
} from './host/catch-up-messages.ts';
export type {
  CatchUpBuilding,
  CatchUpReading,
  CatchUpSink,
  CatchUpSource,
  CheckpointName,
  HeldFor,
} from './host/catch-up-ports.ts';
export type { CatchUpPorts } from './host/catch-ups.ts';
export { RAFT_ERROR_CODES, RaftError } from './host/raft-error.ts';
export type { RaftErrorCode } from './host/raft-error.ts';
export { RaftNode } from './host/raft-node.ts';
export type { RaftNodeOptions, StandingCheckpoint } from './host/raft-node.ts';
export { systemClock, systemRandom } from './host/system-clock.ts';
export { isBulkMessage } from './host/peer-message.ts';
export type { PeerMessage } from './host/peer-message.ts';
export type {
  Clock,
  DamagedRange,
  Disk,
  DiskListener,
  DiskRead,
  DiskWrite,
  Network,
  NetworkListener,
  ReplicaEnd,
  StateMachine,
  Timer,
} from './host/ports.ts';
