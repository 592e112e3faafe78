/**
 * What a history is made of: Jepsen's operations. A client's operation is an `invoke` and, later,
 * one completion of the same process: `ok` (it happened), `fail` (it certainly did not) or `info`
 * (nobody knows: a time-out, a lost connection). A process that ended with `info` is never used
 * again, because what it asked for may still happen.
 *
 * A delivery is pushed by the broker, so that its `invoke` is written with its `ok`. Times are
 * nanoseconds of the monotonic clock since the run began.
 */

export type OperationType = 'invoke' | 'ok' | 'fail' | 'info';

interface Stamped {
  readonly index: number;
  readonly time: number;
  readonly type: OperationType;
}

interface OfClient extends Stamped {
  readonly process: number;
  /** The node that the client is connected to. */
  readonly node: string;
  readonly queue: string;
  /** Why it is not `ok`. */
  readonly error?: string;
}

/** `value` is `<stream>/<sequence>`: a stream is one connection of one publisher, sent in order. */
export interface Enqueue extends OfClient {
  readonly f: 'enqueue';
  readonly value: string;
}

export interface Dequeue extends OfClient {
  readonly f: 'dequeue';
  /** What could be read of the payload, also when it is damaged. */
  readonly value: string;
  readonly group: string;
  /** The connection of the consumer: never used twice. */
  readonly consumer: string;
  readonly offset: number;
  /** What the broker says: 1 is the first delivery. */
  readonly attempt: number;
  /** The checksum in the payload does not fit it. */
  readonly corrupt?: true;
}

interface Settlement extends OfClient {
  readonly value: string;
  readonly group: string;
  readonly consumer: string;
  readonly offset: number;
}

export interface Ack extends Settlement {
  readonly f: 'ack';
}

/** Given up for good: it becomes a dead letter. */
export interface Reject extends Settlement {
  readonly f: 'reject';
  /** The queue that the dead letter goes to. */
  readonly dead: string;
}

/** A consumer's connection: `ok` of `attach` when it is subscribed, `ok` of `detach` at its end. */
export interface Attachment extends OfClient {
  readonly f: 'attach' | 'detach';
  readonly group: string;
  readonly consumer: string;
}

export type FaultStep = 'install' | 'installed' | 'heal' | 'healed' | 'refused';

export type FaultName = 'kill' | 'pause' | 'partition' | 'wipe';

/** `install` and `heal` are asked for, `installed` and `healed` were seen to be so. */
export interface FaultOperation extends Stamped {
  readonly process: 'nemesis';
  readonly f: FaultName;
  readonly step: FaultStep;
  /** Number of the fault in this run. */
  readonly fault: number;
  /** Whom it is about. */
  readonly nodes: readonly string[];
  readonly detail: string;
}

export type Phase = 'load' | 'heal' | 'drain' | 'end';

export interface PhaseOperation extends Stamped {
  readonly process: 'harness';
  readonly f: 'phase';
  readonly value: Phase;
}

/** The harness itself did not run for so many milliseconds, up to `time`. */
export interface Stall extends Stamped {
  readonly process: 'harness';
  readonly f: 'stall';
  readonly value: number;
}

/** A broker ended, and nobody had asked it to. */
export interface Died extends Stamped {
  readonly process: 'harness';
  readonly f: 'died';
  readonly value: string;
  readonly error: string;
}

/** A node took a publish after the final heal: `ok`, or `fail` when it did not in time. */
export interface Recovered extends Stamped {
  readonly process: 'harness';
  readonly f: 'recovered';
  readonly value: string;
  readonly queue: string;
}

/** `ok` when every acknowledged message was delivered and nothing came any more. */
export interface Drained extends Stamped {
  readonly process: 'harness';
  readonly f: 'drained';
  readonly queue: string;
  /** The groups that it is true of. */
  readonly value: readonly string[];
}

export type Operation =
  | Enqueue
  | Dequeue
  | Ack
  | Reject
  | Attachment
  | FaultOperation
  | PhaseOperation
  | Stall
  | Died
  | Recovered
  | Drained;

type WithoutStamp<T> = T extends unknown ? Omit<T, 'index' | 'time'> : never;

/** An operation before the history gives it its place and time. */
export type Event = WithoutStamp<Operation>;

export function isFault(operation: Operation): operation is FaultOperation {
  return operation.process === 'nemesis';
}
