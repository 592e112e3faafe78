/**
 * A shard in one thread with a log and records that outlive it, and a client that speaks its frames
 * plainly: for tests of the shard's own half, with every crash at hand.
 */
import { MemoryRecords } from '../../storage/records/memory-records.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import type { SettleOutcome } from '../../src/machine/command.ts';
import {
  CLIENT_BATCH_HEADER_BYTES,
  writeClientBatchHeader,
  writeClose,
  writeConsume,
  writeGrant,
  writeHello,
  writeRequest,
  writeSettleFrame,
} from '../../src/shard/client-frames.ts';
import type { CloseHow } from '../../src/shard/client-frames.ts';
import { beginEnqueue, finishCommand, writePlainCommand } from '../../src/shard/codec.ts';
import type { PlainCommand } from '../../src/shard/codec.ts';
import { encodeSectionHeader } from '../../src/shard/entry.ts';
import { loopback } from '../../src/shard/port.ts';
import type { BatchPort } from '../../src/shard/port.ts';
import { decodeStats, encodeRequest } from '../../src/shard/requests.ts';
import { DEFAULT_SHARD_LIMITS } from '../../src/shard/shard-limits.ts';
import { Shard } from '../../src/shard/shard.ts';
import type { ShardLimits } from '../../src/shard/shard-limits.ts';
import type { ShardLog } from '../../src/shard/shard-log.ts';
import { ShardBatch } from '../../src/shard/shard-frames.ts';
import type { RefusalReason } from '../../src/shard/shard-frames.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { MemoryLogDisk } from './memory-shard-log.ts';
import type { MemoryShardLog } from './memory-shard-log.ts';

export interface Delivered {
  readonly consumer: number;
  readonly queueId: number;
  readonly offset: number;
  readonly term: number;
  readonly deliveryNumber: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly text: string;
}

export class PlainClient {
  readonly port: BatchPort;
  readonly node: string;
  boot = 0;
  next = 1;
  confirmed = 0;
  answered = 0;
  readonly refusals = new Map<number, RefusalReason>();
  readonly deliveries: Delivered[] = [];
  readonly cancelled: [number, string][] = [];
  readonly queues = new Map<string, number>();
  readonly replies = new Map<number, { accepted: boolean; body: Uint8Array }>();
  failed: string | undefined;
  busy = false;
  /** False: what arrives is not worked off, so that the shard holds back. */
  takes = true;
  onConfirmed: (upTo: number) => void = () => undefined;
  onDelivered: (delivery: Delivered) => void = () => undefined;
  #arrived = 0;
  #taken = 0;
  #writer = new WireWriter(4096);
  #commands = 0;
  #first = 1;
  #frames: ((writer: WireWriter) => void)[] = [];
  #request = 0;
  readonly #messages = new StoredMessageWriter();

  constructor(port: BatchPort, node = 'node-1') {
    this.port = port;
    this.node = node;
    this.#writer.reserve(CLIENT_BATCH_HEADER_BYTES);
    port.onBatch((bytes) => this.#take(bytes));
  }

  hello(): void {
    this.frame((writer) => writeHello(writer, this.node));
    this.send();
  }

  /** Adds a publish to the batch; gives its number. */
  enqueue(targets: readonly number[], text: string): number {
    if (this.#commands === 0) this.#first = this.next;
    const start = beginEnqueue(this.#writer, targets as readonly QueueId[]);
    const message = {
      topic: 't',
      payload: Buffer.from(text),
      qos: 1,
      retain: false,
      properties: undefined,
    } as const;
    this.#messages.write(this.#writer, message, { clientId: 'c', protocol: 'mqtt' });
    finishCommand(this.#writer, start);
    this.#commands++;
    return this.next++;
  }

  frame(write: (writer: WireWriter) => void): void {
    this.#frames.push(write);
  }

  consume(consumer: number, queueId: number, credit: number): void {
    this.frame((writer) =>
      writeConsume(writer, {
        consumer,
        credit,
        queueId: queueId as QueueId,
        clientId: `c${consumer}`,
      }),
    );
  }

  grant(consumer: number, deliveries: number): void {
    this.frame((writer) => writeGrant(writer, consumer, deliveries));
  }

  settle(delivery: Delivered, outcome: SettleOutcome): void {
    const { term, deliveryNumber } = delivery;
    const queueId = delivery.queueId as QueueId;
    const offset = delivery.offset as Offset;
    this.frame((writer) =>
      writeSettleFrame(writer, { queueId, offset, term, deliveryNumber, outcome }),
    );
  }

  closeConsumer(consumer: number, how: CloseHow): void {
    this.frame((writer) => writeClose(writer, consumer, how));
  }

  async stats(): Promise<Map<string, number>> {
    const id = ++this.#request;
    this.frame((writer) => writeRequest(writer, id, encodeRequest({ kind: 'stats' })));
    this.send();
    await until(() => this.replies.has(id));
    return new Map(decodeStats(this.replies.get(id)?.body ?? new Uint8Array()));
  }

  send(firstNumber = this.#first): void {
    if (this.takes) this.#taken = this.#arrived;
    const writer = this.#writer;
    const commandBytes = writer.length - CLIENT_BATCH_HEADER_BYTES;
    for (const write of this.#frames) write(writer);
    const batch = new Uint8Array(writer.written());
    writeClientBatchHeader(batch, {
      boot: this.boot,
      firstNumber,
      answeredUpTo: this.answered,
      takenBytes: this.#taken,
      commands: this.#commands,
      commandBytes,
    });
    this.port.post(batch);
    this.#writer = new WireWriter(4096);
    this.#writer.reserve(CLIENT_BATCH_HEADER_BYTES);
    this.#commands = 0;
    this.#frames = [];
  }

  #take(bytes: Uint8Array): void {
    const batch = new ShardBatch(bytes);
    this.#arrived += bytes.length;
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      switch (frame.kind) {
        case 'opened':
          this.boot = frame.boot;
          break;
        case 'queues':
          this.queues.clear();
          for (const { name, queueId } of frame.queues) this.queues.set(name, queueId);
          break;
        case 'confirmed':
          this.confirmed = frame.upTo;
          this.answered = frame.upTo;
          for (const { number, reason } of frame.refusals) this.refusals.set(number, reason);
          this.onConfirmed(frame.upTo);
          break;
        case 'busy':
          this.busy = true;
          break;
        case 'resume':
          this.busy = false;
          break;
        case 'delivery': {
          const view = new StoredMessageView(frame.bytes, frame.start, frame.end);
          const delivery: Delivered = {
            consumer: frame.consumer,
            queueId: frame.queueId,
            offset: frame.offset,
            term: frame.term,
            deliveryNumber: frame.deliveryNumber,
            attempt: frame.attempt,
            redelivered: frame.redelivered,
            text: Buffer.from(view.payload).toString(),
          };
          this.deliveries.push(delivery);
          this.onDelivered(delivery);
          break;
        }
        case 'cancelled':
          this.cancelled.push([frame.consumer, frame.reason]);
          break;
        case 'reply':
          this.replies.set(frame.id, { accepted: frame.accepted, body: frame.body });
          break;
        case 'failed':
          this.failed = frame.why;
      }
    }
  }
}

export function queue(
  name: string,
  limits: Partial<QueueDefinition['limits']> = {},
): QueueDefinition {
  return {
    name,
    type: 'classic',
    topics: [`$queue/${name}/#`],
    limits: { ...DEFAULT_LIMITS, ...limits },
  };
}

export interface OpenOptions {
  readonly queues?: readonly QueueDefinition[];
  readonly limits?: Partial<ShardLimits>;
  readonly mode?: 'auto' | 'by-hand';
  /** Instead of the log in memory. */
  readonly log?: ShardLog;
}

/** Disk, clock and one shard at a time. */
export class ShardWorld {
  readonly disk = new MemoryLogDisk();
  readonly records = new MemoryRecords();
  readonly lines: { level: string; fields: Record<string, unknown>; message: string }[] = [];
  readonly failures: Error[] = [];
  wallMs = 1_700_000_000_000;
  monotonicMs = 0;
  /** Added to the clock for each reading of it, so that slices end. */
  readingMs = 0.01;
  inReserve = false;
  log: MemoryShardLog | undefined;
  shard: Shard | undefined;

  async open(options: OpenOptions = {}): Promise<PlainClient> {
    const [near, far] = loopback();
    this.log = this.disk.open(options.mode ?? 'auto');
    const log = (level: string) => (fields: Record<string, unknown>, message: string) =>
      void this.lines.push({ level, fields, message });
    const opening = Shard.open({
      node: 'node-1',
      log: options.log ?? this.log,
      records: await this.records.open(),
      port: far,
      queues: options.queues ?? [queue('orders')],
      limits: { ...DEFAULT_SHARD_LIMITS, ...options.limits },
      clock: {
        wallMs: () => this.wallMs,
        monotonicMs: () => (this.monotonicMs += this.readingMs),
      },
      logger: { info: log('info'), warn: log('warn'), error: log('error') },
      inReserve: () => this.inReserve,
      onFailure: (error) => void this.failures.push(error),
    });
    if (options.mode === 'by-hand') await this.syncUntil(opening);
    this.shard = await opening;
    const client = new PlainClient(near);
    client.hello();
    if (options.mode === 'by-hand') await this.syncUntil(until(() => client.boot > 0));
    await until(() => client.boot > 0);
    return client;
  }

  async syncUntil(done: Promise<unknown>): Promise<void> {
    let over = false;
    const end = (): void => void (over = true);
    done.then(end, end);
    while (!over) {
      this.log?.sync();
      await turn();
    }
  }

  /** Puts a command into the log past everybody, as another leader would. */
  propose(command: PlainCommand): void {
    const writer = new WireWriter(256);
    writePlainCommand(writer, command);
    const body = writer.written();
    const stampMs = this.wallMs + Math.floor(this.monotonicMs);
    const header = encodeSectionHeader({
      node: '',
      boot: 0,
      firstNumber: 0,
      answeredUpTo: 0,
      stampMs,
      commands: 1,
      commandBytes: body.length,
    });
    const bytes = header.length + body.length;
    this.log?.propose({ stampMs, commandCount: 1, bytes, payload: [header, body] });
  }

  /** The power goes. */
  crash(): void {
    this.disk.crash();
    this.records.crash();
  }

  async stop(): Promise<void> {
    await this.shard?.stop();
  }
}

export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

const TURNS_MAX = 200_000;

/** Lets the event loop turn until it holds; a bounded number of turns, no time. */
export async function until(condition: () => boolean): Promise<void> {
  for (let left = TURNS_MAX; left > 0; left--) {
    if (condition()) return;
    await turn();
  }
  throw new Error(`it never came to hold: ${condition.toString()}`);
}
