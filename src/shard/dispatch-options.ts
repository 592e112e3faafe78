/**
 * What the dispatcher needs and says: the port between the deliveries of a shard and its server,
 * its proposals and its machine. Types alone.
 */

import type { CancelReason, SettleAnswer, SettleRequest } from '../broker/ports.ts';
import type {
  CreateGroupCommand,
  DeleteGroupCommand,
  IdleGroupCommand,
  Position,
  SeekGroupCommand,
  SettleCause,
  SettleOutcome,
  SettleRangeCommand,
} from '../machine/command.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { DeliveryName } from '../machine/dispatch-policy.ts';
import type { GroupView } from '../machine/effect.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { GroupDispatchStart } from '../machine/machine.ts';
import type { Alarms } from './alarms.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import type { Payloads, StoredMessage } from './payloads.ts';

export interface GroupPlace {
  readonly queueId: QueueId;
  readonly groupId: GroupId;
}

export interface DeliveryHeader {
  consumer: number;
  queueId: QueueId;
  offset: Offset;
  deliveryNumber: number;
  attempt: number;
  redelivered: boolean;
}

/** Where deliveries go; the header and the message are valid during the call only. */
export interface DeliveryOutput {
  /** Once, before the consumer's first delivery: it is a member of the group. */
  attached(consumer: number, group: { readonly groupId: GroupId; readonly name: string }): void;
  deliver(header: DeliveryHeader, message: StoredMessage): void;
  /**
   * Of manual consumers alone: a delivery that ended otherwise than by `close`; a settlement ends
   * it when it is proposed.
   */
  ended(consumer: number, offset: Offset, deliveryNumber: number): void;
  cancelled(consumer: number, reason: CancelReason, detail: string): void;
  /** The answer to `ask`, once for each tag. */
  settled(tag: number, answer: SettleAnswer): void;
  /** False while so much waits to be taken by the other side that nothing more is to be encoded. */
  readonly open: boolean;
  /** The same of one consumer; it is told by `mayTake` that it takes again. */
  takes(consumer: number): boolean;
}

export interface AttachRequest {
  readonly queueId: QueueId;
  /** '': it has none of its own. */
  readonly clientId: string;
  /** Undefined: the group that the queue gives to those who name none. */
  readonly group: string | undefined;
  /** A topic filter over routing keys; '' takes all. */
  readonly filter: string;
  /** Undefined: where the group stands. */
  readonly start: Position | undefined;
  readonly credit: number;
  /** It hears of each of its deliveries that ends. */
  readonly manual: boolean;
  /** It was a member before: the whole name of its group; '' for the first time. */
  readonly again?: string;
  /** It is told which messages it is given, and its node has them. */
  readonly named?: boolean;
  /** Of the owner of a session; absent: the queue is no session's. */
  readonly ownerEpoch?: number;
}

/** What a client says of one delivery; valid during the call only. */
export interface Settlement extends DeliveryName {
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly outcome: SettleOutcome;
}

/** A settlement by name; `tag` comes back with its answer. */
export interface SettleAsk extends Omit<SettleRequest, 'outcome'> {
  readonly tag: number;
  /** `extend`: the visibility timeout of the delivery begins anew. */
  readonly outcome: SettleOutcome | 'commit' | 'extend';
}

export interface SettleReason {
  readonly outcome: SettleOutcome;
  readonly cause: SettleCause;
}

export type GroupCommand =
  | CreateGroupCommand
  | DeleteGroupCommand
  | SeekGroupCommand
  | IdleGroupCommand
  | SettleRangeCommand;

/** False: it cannot be proposed (the store failed or stops). */
export interface SettleProposals {
  settle(of: GroupPlace, offset: Offset, reason: SettleReason): boolean;
  plain(command: GroupCommand, node: string): boolean;
}

/** Whose a session's queue is, as the machine knows it. */
export interface SessionOwner {
  readonly ownerEpoch: number;
  /** Its end is counted. */
  readonly hasLeft: boolean;
}

export interface DispatcherOptions {
  readonly term: number;
  /** What may have been delivered before this term began. */
  readonly marks: DeliveryMarks;
  readonly payloads: Pick<Payloads, 'get' | 'fetch' | 'lostDetail' | 'lostIsGone'>;
  readonly proposals: SettleProposals;
  readonly output: DeliveryOutput;
  readonly alarms: Alarms;
  now(): number;
  /** Undefined: no such queue. */
  definition(queueId: QueueId): QueueDefinition | undefined;
  /** A message below this that is stored nowhere was settled by every group; 0: none was. */
  goneBelow(queueId: QueueId): Offset;
  /**
   * Loads what tells the groups of the queue, and calls `found` once, in the same turn in which it
   * reads the state, so that no effect falls between. `owner`: of a session's queue alone.
   */
  groupNamed(
    queueId: QueueId,
    name: string,
    found: (group: GroupView | undefined, owner?: SessionOwner) => void,
  ): Promise<void>;
  /** The same with the records of a group; undefined: the group is gone. */
  start(of: GroupPlace, began: (start: GroupDispatchStart | undefined) => void): Promise<void>;
  /** The owner of a session consumes, though its end is counted. */
  ownerIsBack?(queueId: QueueId, ownerEpoch: number): void;
  /** Nobody consumes the session's queue any more. */
  ownerIsGone?(queueId: QueueId): void;
  /** Deliveries wait: consumers are telling what they hold. `wake` is called when that is over. */
  holdsBack(): boolean;
  /** There is something to do: call `serve` soon. */
  readonly wake: () => void;
  /** A promise of the dispatcher failed: the store cannot be used any more. */
  readonly failed: (error: unknown) => void;
}
