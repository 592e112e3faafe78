/**
 * What a shard's log says: every durable change is one of these commands.
 *
 * A command is data. The machine keeps no reference to it after `apply` returned, nor to its
 * `targets`, so a hot path may fill one object again and again; the strings, topics and limits of a
 * declaration are kept and must not change. Limits travel in the command and not in a node's
 * configuration, or two configuration files would make two states.
 */

import type { PlacedDefinition, QueueLimits } from './definitions.ts';
import type { GroupId, Offset, QueueId, StampMs } from './ids.ts';
import type { SessionCommand } from './session-command.ts';

/**
 * Why a leader gives a stream's number away without a message (`void`); the sender hears it as a
 * refusal.
 */
export const VOID_REASONS = ['disk-full', 'queue-full', 'too-large', 'unavailable'] as const;
export type VoidReason = (typeof VOID_REASONS)[number];

export const SETTLE_OUTCOMES = ['complete', 'requeue', 'discard'] as const;
export type SettleOutcome = (typeof SETTLE_OUTCOMES)[number];

/**
 * Who asked for a settlement: the client, a visibility timeout, a lost connection, a hand-back
 * unprocessed, the leader because the message has expired, the leader because the filter of the
 * group does not match a message that is older than the group, the leader because the message is
 * stored nowhere in a queue of which settlements were lost (`lost-groups.ts`).
 */
export const SETTLE_CAUSES = [
  'client',
  'timeout',
  'lost',
  'returned',
  'expired',
  'filtered',
  'gone',
] as const;
export type SettleCause = (typeof SETTLE_CAUSES)[number];

/** Starts the stream of a sender anew: its boot goes up by one, its numbers start again at 1. */
export interface OpenStreamCommand {
  readonly kind: 'open-stream';
  readonly node: string;
}

/** The place of a command in its sender's stream; see `streams.ts`. */
export interface NumberedCommand {
  readonly node: string;
  readonly boot: number;
  /** From 1, without gaps. */
  readonly number: number;
  /** The sender knows the outcome of this number and of all below it. */
  readonly answeredUpTo: number;
}

/** What a publish asks for beyond being stored; absent in the common case. */
export interface EnqueueOptions {
  /** The message expires so long after its stamp; 0: it does not say. */
  readonly ttlMs: number;
  /** 0 to 9. */
  readonly priority: number;
  /** It reaches its queues so long after its stamp; 0: at once. */
  readonly delayMs: number;
  /** Undefined: the producer does not number its messages. */
  readonly producer: { readonly id: string; readonly sequence: number } | undefined;
  /** The key of an MQTT QoS 2 publish, stored with it until its release. */
  readonly key: PublishKey | undefined;
  /** It is a retained message on its way to one session; absent: it is not. */
  readonly replay?: ReplayStep | undefined;
}

/**
 * One step of the replay of a subscription (`StoredReplay`), of the owner of the session: the
 * message is stored, and the replay moves on. Of another owner or run it is refused.
 */
export interface ReplayStep {
  readonly ownerEpoch: number;
  readonly run: number;
  /** All of the queue of retained messages from here on was looked at; refused above its `next`. */
  readonly from: number;
  /** Where the message lies there; stored before if this is below the `next` of the replay. */
  readonly at: number;
  /** The replay goes on here; at its end it is done. */
  readonly next: number;
  /** Refused as long as so many messages of the session are not settled. From 1. */
  readonly room: number;
}

/** (session incarnation, packetId), of an owner; see docs/queues.md, exactly once. */
export interface PublishKey {
  readonly session: string;
  /** Lower ones than the highest seen for the incarnation are refused. */
  readonly ownerEpoch: number;
  readonly packetId: number;
  /** Absent: all targets of the publish are in this command. */
  readonly part?: KeyPart | undefined;
}

/**
 * One of several commands of a publish whose targets, in ascending order, are too many for one: all
 * of them above `after` up to `through` are in it. A part that comes again, or whose publish comes
 * again with other targets, stores nothing where it was stored.
 */
export interface KeyPart {
  /** The last target of the part before; 0: this is the first. */
  readonly after: number;
  /** 0: this is the last part. */
  readonly through: number;
}

export interface EnqueueCommand extends NumberedCommand {
  readonly kind: 'enqueue';
  /**
   * At most `MAX_TARGETS`; a queue named twice is appended to once; one that is gone is skipped.
   */
  readonly targets: readonly QueueId[];
  /** Stored size of the message. */
  readonly bytes: number;
  /** The topic that it was published to; what follows `$queue/<name>/` is its routing key. */
  readonly topic: string;
  readonly options: EnqueueOptions | undefined;
}

export interface VoidCommand extends NumberedCommand {
  readonly kind: 'void';
  readonly reason: VoidReason;
}

export interface SettleCommand {
  readonly kind: 'settle';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly offset: Offset;
  readonly outcome: SettleOutcome;
  /** Matters for `requeue` alone. */
  readonly cause: SettleCause;
}

export interface DeclareQueueCommand extends PlacedDefinition {
  readonly kind: 'declare-queue';
}

export interface UpdateQueueCommand {
  readonly kind: 'update-queue';
  readonly queueId: QueueId;
  readonly limits: QueueLimits;
}

export interface DeleteQueueCommand {
  readonly kind: 'delete-queue';
  readonly queueId: QueueId;
}

/** Raises the version of the rules; proposed once every voter knows it. */
export interface SetVersionCommand {
  readonly kind: 'set-version';
  readonly version: number;
}

/** Why a stretch of offsets is settled. */
export const RANGE_CAUSES = ['purged', 'committed', 'expired', 'filtered', 'gone'] as const;
export type RangeCause = (typeof RANGE_CAUSES)[number];

/** Settles all of [from, to) that is not settled; at most `MAX_RANGE` offsets. */
export interface SettleRangeCommand {
  readonly kind: 'settle-range';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly from: Offset;
  readonly to: Offset;
  readonly cause: RangeCause;
}

export const GROUP_KINDS = ['explicit', 'automatic'] as const;
export type GroupKind = (typeof GROUP_KINDS)[number];

/** A place in a queue. `time`: the first message stamped at or after it. */
export type Position =
  | { readonly kind: 'first' | 'last' | 'next' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly ms: number };

/** Idempotent: a group of that name and filter is left as it is; another filter is refused. */
export interface CreateGroupCommand {
  readonly kind: 'create-group';
  readonly queueId: QueueId;
  readonly name: string;
  readonly groupKind: GroupKind;
  /** A topic filter over routing keys; '' takes all. */
  readonly filter: string;
  /** Undefined: as the queue's `groupStart` says. */
  readonly start: Position | undefined;
}

export interface DeleteGroupCommand {
  readonly kind: 'delete-group';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
}

/** Moves a group: everything below is settled, and (on a stream, or forward) nothing above. */
export interface SeekGroupCommand {
  readonly kind: 'seek-group';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly position: Position;
}

/** An automatic group has lost its last member, or has one again. */
export interface IdleGroupCommand {
  readonly kind: 'idle-group';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly idle: boolean;
}

/** Nothing below `start` is wanted any more, whoever has not settled it; by retention or purge. */
export interface RetainCommand {
  readonly kind: 'retain';
  readonly queueId: QueueId;
  /** At most `MAX_RANGE` above the present one: what is more is cut. */
  readonly start: Offset;
}

/** Fires up to `max` timers that are due by the command's stamp; or moves them nearer. */
export interface FireTimersCommand {
  readonly kind: 'fire-timers';
  readonly max: number;
}

/**
 * The enqueue that closes an intent of the outbox: its message goes to `targets`, and the source is
 * settled for good, in one. A closed or unknown intent: nothing happens.
 */
export interface TransferCommand {
  readonly kind: 'transfer';
  readonly intent: number;
  readonly targets: readonly QueueId[];
  readonly bytes: number;
  readonly topic: string;
  readonly options: EnqueueOptions | undefined;
}

export const SKIP_REASONS = ['unreadable', 'hop-limit', 'no-target'] as const;
export type SkipReason = (typeof SKIP_REASONS)[number];

/** The intent cannot be done: it is closed without a transfer. */
export interface SkipIntentCommand {
  readonly kind: 'skip-intent';
  readonly intent: number;
  readonly reason: SkipReason;
}

/**
 * The intent goes to this queue of another shard: it gets the next number towards that shard, and
 * goes nowhere else until `end-route`. One that has a route, or is closed: nothing happens.
 */
export interface RouteIntentCommand {
  readonly kind: 'route-intent';
  readonly intent: number;
  readonly queueId: QueueId;
}

/**
 * What another shard says to a message that was sent there: it has it; a queue is full; there is no
 * such queue (any more); the number is closed, or was given twice.
 */
export const ROUTE_ENDS = ['taken', 'refused', 'gone', 'stale'] as const;
export type RouteEnd = (typeof ROUTE_ENDS)[number];

/**
 * What became of a routed intent: taken closes it, all else leaves it open and without a route. Of
 * another number than it has: nothing happens.
 */
export interface EndRouteCommand {
  readonly kind: 'end-route';
  readonly intent: number;
  readonly number: number;
  readonly how: RouteEnd;
  /** As the other shard told it: the numbers up to below it are not given any more. */
  readonly next: number;
}

/**
 * In the shard of its target: a message that another shard has routed here. It is stored once for
 * its number, however often it comes; see `arrivals.ts`.
 */
export interface TakeTransferCommand {
  readonly kind: 'take-transfer';
  /** The source shard. */
  readonly from: number;
  readonly number: number;
  /** The stamp of the intent in the source. */
  readonly opened: StampMs;
  /** The source has closed every number below. */
  readonly lowestOpen: number;
  readonly targets: readonly QueueId[];
  readonly bytes: number;
  readonly topic: string;
  readonly options: EnqueueOptions | undefined;
}

/** Opens an intent for each unsettled message of [from, to), at most `MAX_MOVES`. */
export interface MoveRangeCommand {
  readonly kind: 'move-range';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly from: Offset;
  readonly to: Offset;
  /** The queue to go to, of any shard; 'source': where each dead letter came from. */
  readonly target: QueueId | 'source';
}

/** The QoS 2 publish is finished: its packet id may be used again. Numbered behind the publish. */
export interface ReleaseCommand extends NumberedCommand {
  readonly kind: 'release';
  readonly key: PublishKey;
}

/** The session's incarnation has ended: all its keys go. */
export interface EndSessionCommand {
  readonly kind: 'end-session';
  readonly session: string;
}

/**
 * To shard 0: where is a queue of this name to be declared? Where it is already, else where the
 * queue `near` is ('': near none), else where the fewest queues are.
 */
export interface PlaceQueueCommand {
  readonly kind: 'place-queue';
  readonly name: string;
  /** Numbers of shards; those that there are not do not count. At most `SHARDS_MAX`. */
  readonly among: readonly number[];
  readonly near: string;
}

/** To shard 0: the queue is gone. Nothing happens when its name was placed again meanwhile. */
export interface UnplaceQueueCommand {
  readonly kind: 'unplace-queue';
  readonly name: string;
  readonly version: number;
}

/** To another shard: it makes no queue any more for a place of this version, or a lower one. */
export interface FenceNamesCommand {
  readonly kind: 'fence-names';
  readonly version: number;
}

/** To shard 0: idempotent; the next number, or the same row again. */
export interface AddShardCommand {
  readonly kind: 'add-shard';
  readonly number: number;
  /** Nodes; the first is to lead. */
  readonly founders: readonly string[];
}

/** To shard 0: idempotent. A node has a replica of the shard, or has none any more. */
export interface HostShardCommand {
  readonly kind: 'host-shard' | 'unhost-shard';
  readonly number: number;
  readonly node: string;
}

export type Command =
  | OpenStreamCommand
  | EnqueueCommand
  | VoidCommand
  | SettleCommand
  | SettleRangeCommand
  | CreateGroupCommand
  | DeleteGroupCommand
  | SeekGroupCommand
  | IdleGroupCommand
  | RetainCommand
  | FireTimersCommand
  | TransferCommand
  | SkipIntentCommand
  | MoveRangeCommand
  | RouteIntentCommand
  | EndRouteCommand
  | TakeTransferCommand
  | ReleaseCommand
  | EndSessionCommand
  | PlaceQueueCommand
  | UnplaceQueueCommand
  | FenceNamesCommand
  | AddShardCommand
  | HostShardCommand
  | DeclareQueueCommand
  | UpdateQueueCommand
  | DeleteQueueCommand
  | SetVersionCommand
  | SessionCommand;

/** Bounds what one `apply` touches. */
export const MAX_TARGETS = 1_024;
export const MAX_RANGE = 65_536;
export const MAX_MOVES = 256;
