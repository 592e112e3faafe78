/**
 * Deliveries that the leader only names, filled with their messages from the replica of this node:
 * what goes over a link is which message, in what order and to whom, and never the message.
 *
 * ```
 *   named ---> reading ---(message is there)---> filled, to the client
 *                |  ^
 *                |  +---- not applied yet: waits for it; on the disk: is fetched
 *                +---(stored nowhere here, or the replica does not get on)---> unread
 * ```
 *
 * Each consumer has its deliveries in the order of their names, none is passed over: what cannot be
 * read here ends the session, and the leader sends it whole in the next one. So does a replica that
 * another one took the place of. The client has at most `FILLED_BYTES_MAX`, and one batch, that it
 * has not worked off; names are bounded by the credit of the consumers. All of it is soft state:
 * the leader knows what it named, and names it again where nobody claims it.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Applier } from './applier.ts';
import { PayloadCursor } from './payloads.ts';
import type { Payloads } from './payloads.ts';
import type { ShardLog } from './shard-log.ts';
import type { NamedFrame } from './shard-frame.ts';
import { ShardBatch, ShardBatchWriter } from './shard-frames.ts';

/** The replica of this node, up to what it has applied; of another replica it is another object. */
export interface ReplicaReads {
  readonly applier: Pick<Applier, 'index' | 'whenApplied'>;
  readonly payloads: Pick<Payloads, 'get' | 'fetch'>;
  readonly log: Pick<ShardLog, 'hasten'>;
}

export interface LocalReadsOptions {
  /** The replica as it is now; undefined: it is being opened, or there is none. */
  replica(): ReplicaReads | undefined;
  /** To the client; the bytes are its own. */
  post(bytes: Uint8Array): void;
  /**
   * The session must end: `consumer` cannot be served here, or (undefined) nobody can be now. `end`
   * is called meanwhile.
   */
  unread(consumer: number | undefined, why: string): void;
  after(ms: number, action: () => void): { cancel(): void };
}

/** Of what the client has not worked off. */
const FILLED_BYTES_MAX = 1 << 20;
const BATCH_BYTES_ABOUT = 262_144;
/** Of one consumer, before it is the next one's turn. */
const TURN_DELIVERIES = 64;
/** So many consumers keep their place although nothing is named to them. */
const RESTING_MAX = 256;
/** A replica that is behind for so long leaves its readers to the leader. */
const BEHIND_MS_MAX = 2_000;

interface Reader {
  readonly consumer: number;
  readonly cursor: PayloadCursor;
  /** What is named and not filled, in order. */
  readonly names: NamedFrame[];
  /** Of the first of them, so many are filled. */
  filled: number;
  /** It is in the list of those that can go on, or waits for something. */
  isUnderWay: boolean;
}

export class LocalReads {
  readonly #options: LocalReadsOptions;
  readonly #writer = new ShardBatchWriter();
  /** That of the session; undefined: nothing is read here in it. */
  #replica: ReplicaReads | undefined;
  #readers = new Map<number, Reader>();
  #ready: Reader[] = [];
  #waits = new Set<{ cancel(): void }>();
  #postedBytes = 0;
  #takenBytes = 0;
  #isScheduled = false;
  #messages = 0;
  /** The leader was asked when this entry was waited for. */
  #hastened = 0;

  constructor(options: LocalReadsOptions) {
    this.#options = options;
  }

  /** Messages that were read here so far. */
  get messages(): number {
    return this.#messages;
  }

  /** A session that began now would read from another replica. */
  get isOutdated(): boolean {
    const replica = this.#options.replica();
    return replica !== undefined && replica !== this.#replica;
  }

  /** A session begins; true: its deliveries may be named. */
  begin(): boolean {
    this.end();
    this.#replica = this.#options.replica();
    return this.#replica !== undefined;
  }

  /** What is named and not filled is for nobody any more. */
  end(): void {
    this.#replica = undefined;
    this.#readers = new Map();
    this.#ready = [];
    for (const wait of this.#waits) wait.cancel();
    this.#waits.clear();
    this.#hastened = 0;
  }

  /** A batch of the leader in which deliveries are named. */
  named(bytes: Uint8Array): void {
    const batch = new ShardBatch(bytes);
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      if (frame.kind === 'named' && frame.count > 0) this.#take(frame);
    }
  }

  /** The client has worked off so much of all that was filled. */
  taken(bytes: number): void {
    this.#takenBytes = Math.max(this.#takenBytes, bytes);
    this.#schedule();
  }

  /** The consumer is closed: what was named to it is for nobody. */
  forget(consumer: number): void {
    this.#readers.delete(consumer);
  }

  #take(name: NamedFrame): void {
    let reader = this.#readers.get(name.consumer);
    if (reader === undefined) {
      const cursor = new PayloadCursor();
      reader = { consumer: name.consumer, cursor, names: [], filled: 0, isUnderWay: false };
      this.#readers.set(name.consumer, reader);
    }
    reader.names.push(name);
    if (!reader.isUnderWay) this.#goOn(reader);
  }

  #goOn(reader: Reader): void {
    if (this.#readers.get(reader.consumer) !== reader) return;
    reader.isUnderWay = true;
    this.#ready.push(reader);
    this.#schedule();
  }

  get #hasRoom(): boolean {
    return this.#postedBytes - this.#takenBytes < FILLED_BYTES_MAX;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#ready.length === 0 || !this.#hasRoom) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#turn();
    });
  }

  /** One batch; the rest in a later turn. */
  #turn(): void {
    const replica = this.#replica;
    if (this.#ready.length === 0 || replica === undefined) return;
    if (replica !== this.#options.replica()) {
      this.#options.unread(undefined, 'the replica is opened anew');
      return;
    }
    const writer = this.#writer;
    writer.filled();
    const empty = writer.length;
    let left = this.#ready.length;
    while (left-- > 0 && writer.length < BATCH_BYTES_ABOUT) {
      const reader = this.#ready.shift() as Reader;
      if (this.#readers.get(reader.consumer) !== reader) continue;
      const why = this.#fill(reader, replica);
      if (why === undefined) continue;
      this.#post(empty);
      this.#options.unread(reader.consumer, why);
      return;
    }
    this.#post(empty);
    this.#schedule();
  }

  #post(empty: number): void {
    const isEmpty = this.#writer.length === empty;
    const batch = this.#writer.take();
    if (isEmpty) return;
    this.#postedBytes += batch.length;
    this.#options.post(batch);
  }

  /** Why the next one cannot be read here; undefined: it is, or is waited for. */
  #fill(reader: Reader, replica: ReplicaReads): string | undefined {
    const { cursor, names } = reader;
    const writer = this.#writer;
    for (let count = 0; count < TURN_DELIVERIES && writer.length < BATCH_BYTES_ABOUT; count++) {
      const name = names[0];
      if (name === undefined) {
        reader.isUnderWay = false;
        if (this.#readers.size > RESTING_MAX) this.#readers.delete(reader.consumer);
        return undefined;
      }
      if (name.index > replica.applier.index) {
        this.#wait(reader, replica, name.index);
        return undefined;
      }
      const offset = (name.offset + reader.filled) as Offset;
      const found = replica.payloads.get(name.queueId, offset, cursor);
      if (found === 'lost') return `offset ${offset} cannot be read`;
      if (found === 'away') {
        this.#fetch(reader, replica, { queueId: name.queueId, offset });
        return undefined;
      }
      const deliveryNumber = name.deliveryNumber + reader.filled;
      writer.term = name.term;
      writer.delivery({ ...name, offset, deliveryNumber }, found);
      this.#messages++;
      reader.filled++;
      if (reader.filled < name.count) continue;
      names.shift();
      reader.filled = 0;
    }
    this.#ready.push(reader);
    return undefined;
  }

  #wait(reader: Reader, replica: ReplicaReads, index: LogIndex): void {
    const { consumer } = reader;
    if (index > this.#hastened) {
      this.#hastened = index;
      replica.log.hasten?.();
    }
    const isWaiting = (): boolean => this.#readers.get(consumer) === reader;
    const tooLong = this.#options.after(BEHIND_MS_MAX, () => {
      this.#waits.delete(tooLong);
      if (isWaiting()) this.#options.unread(consumer, `the replica is behind entry ${index}`);
    });
    this.#waits.add(tooLong);
    const over = (): void => {
      tooLong.cancel();
      this.#waits.delete(tooLong);
    };
    replica.applier.whenApplied(index).then(
      () => {
        over();
        this.#goOn(reader);
      },
      ({ message }: Error) => {
        over();
        this.#failed(reader, replica, message);
      },
    );
  }

  #fetch(
    reader: Reader,
    replica: ReplicaReads,
    { queueId, offset }: { readonly queueId: QueueId; readonly offset: Offset },
  ): void {
    replica.payloads.fetch(queueId, offset).then(
      (outcome) => {
        if (this.#readers.get(reader.consumer) !== reader) return;
        if (outcome.kind === 'ready') this.#goOn(reader);
        else this.#options.unread(reader.consumer, outcome.detail);
      },
      ({ message }: Error) => this.#failed(reader, replica, message),
    );
  }

  /** A replica that is being replaced has closed its stores; any other must not be asked again. */
  #failed(reader: Reader, replica: ReplicaReads, why: string): void {
    const { consumer } = reader;
    if (this.#readers.get(consumer) !== reader) return;
    this.#options.unread(replica === this.#options.replica() ? consumer : undefined, why);
  }
}
