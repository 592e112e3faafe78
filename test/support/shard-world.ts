/**
 * A shard in one thread with a log and records that outlive it, and a client that speaks its frames
 * plainly: for tests of the shard's own half, with every crash at hand.
 */
import { MemoryRecords } from '../../storage/records/memory-records.ts';
import { Runs } from '../../storage/runs/runs.ts';
import type { Message } from '../../src/broker/message.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import { DEFAULT_GROUP } from '../../src/machine/ids.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import type { ShardMap } from '../../src/machine/shard-map.ts';
import type { EnqueueOptions, PublishKey, SettleOutcome } from '../../src/machine/command.ts';
import type { ConsumeRequest, SettleAnswer, SettleRequest } from '../../src/broker/ports.ts';
import {
  CLIENT_BATCH_HEADER_BYTES,
  writeAsk,
  writeClientBatchHeader,
  writeClose,
  writeConsume,
  writeGrant,
  writeHello,
  writeRequest,
  writeSettleFrame,
} from '../../src/shard/client-frames.ts';
import type { CloseHow } from '../../src/shard/client-frames.ts';
import {
  beginEnqueue,
  finishCommand,
  writePlainCommand,
  writeRelease,
} from '../../src/shard/codec.ts';
import type { PlainCommand } from '../../src/shard/codec.ts';
import { encodeSectionHeader } from '../../src/shard/entry.ts';
import type { OtherShards } from '../../src/shard/other-shards.ts';
import { loopback } from '../../src/shard/port.ts';
import type { BatchPort } from '../../src/shard/port.ts';
import { decodeRefusal, decodeStats, encodeRequest } from '../../src/shard/requests.ts';
import type { ShardRequest } from '../../src/shard/requests.ts';
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
import { MemoryFiles } from './memory-files.ts';

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

export interface EnqueueMore {
  readonly options?: EnqueueOptions;
  readonly message?: Partial<Message>;
  readonly publishedAtMs?: number;
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
  /** Group of each consumer that was attached. */
  readonly attached = new Map<number, { readonly groupId: GroupId; readonly name: string }>();
  readonly ended: [consumer: number, offset: number][] = [];
  readonly answers = new Map<number, SettleAnswer>();
  readonly queues = new Map<string, number>();
  knowsAll = false;
  /** Queues told in each frame of them, and the length of each batch. */
  readonly queueFrames: number[] = [];
  readonly batchBytes: number[] = [];
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
  enqueue(targets: readonly number[], text: string, more: EnqueueMore = {}): number {
    if (this.#commands === 0) this.#first = this.next;
    const start = beginEnqueue(this.#writer, targets as readonly QueueId[], more.options);
    const message: Message = {
      topic: 't',
      payload: Buffer.from(text),
      qos: 1,
      retain: false,
      properties: undefined,
      ...more.message,
    };
    this.#messages.publishedAtMs = more.publishedAtMs ?? 0;
    this.#messages.write(this.#writer, message, { clientId: 'c', protocol: 'mqtt' });
    finishCommand(this.#writer, start);
    this.#commands++;
    return this.next++;
  }

  /** Adds a release to the batch; gives its number. */
  release(key: PublishKey): number {
    if (this.#commands === 0) this.#first = this.next;
    writeRelease(this.#writer, key);
    this.#commands++;
    return this.next++;
  }

  frame(write: (writer: WireWriter) => void): void {
    this.#frames.push(write);
  }

  consume(
    consumer: number,
    queueId: number,
    credit: number,
    more: Partial<ConsumeRequest> = {},
  ): void {
    const none = { group: undefined, filter: '', start: undefined, manual: false };
    const request = { ...none, credit, queueId: queueId as QueueId, clientId: `c${consumer}` };
    this.frame((writer) => writeConsume(writer, { ...request, ...more, consumer }));
  }

  /** Asks for a settlement by name. */
  ask(tag: number, request: SettleRequest): void {
    this.frame((writer) => writeAsk(writer, tag, request));
  }

  grant(consumer: number, deliveries: number): void {
    this.frame((writer) => writeGrant(writer, consumer, deliveries));
  }

  settle(delivery: Delivered, outcome: SettleOutcome): void {
    const { term, deliveryNumber } = delivery;
    const queueId = delivery.queueId as QueueId;
    const offset = delivery.offset as Offset;
    const groupId = this.attached.get(delivery.consumer)?.groupId ?? DEFAULT_GROUP;
    this.frame((writer) =>
      writeSettleFrame(writer, { queueId, groupId, offset, term, deliveryNumber, outcome }),
    );
  }

  closeConsumer(consumer: number, how: CloseHow): void {
    this.frame((writer) => writeClose(writer, consumer, how));
  }

  async stats(): Promise<Map<string, number>> {
    return new Map(decodeStats(await this.request({ kind: 'stats' })));
  }

  /** The body of the reply; throws what the shard refused it with. */
  async request(request: ShardRequest): Promise<Uint8Array> {
    const id = ++this.#request;
    this.frame((writer) => writeRequest(writer, id, encodeRequest(request)));
    this.send();
    await until(() => this.replies.has(id));
    const { accepted, body } = this.replies.get(id) ?? { accepted: false, body: new Uint8Array() };
    if (!accepted) throw decodeRefusal(body);
    return body;
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
      session: 0,
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
    this.batchBytes.push(bytes.length);
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      switch (frame.kind) {
        case 'opened':
          this.boot = frame.boot;
          break;
        case 'queues':
          for (const [name, queueId] of this.queues) {
            if (frame.gone.includes(queueId as QueueId)) this.queues.delete(name);
          }
          for (const { name, queueId } of frame.queues) this.queues.set(name, queueId);
          this.knowsAll ||= frame.complete;
          this.queueFrames.push(frame.queues.length + frame.gone.length);
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
        case 'attached':
          this.attached.set(frame.consumer, { groupId: frame.groupId, name: frame.group });
          break;
        case 'ended':
          this.ended.push([frame.consumer, frame.offset]);
          break;
        case 'settled':
          this.answers.set(frame.tag, frame.answer);
          break;
        case 'reply':
          this.replies.set(frame.id, { accepted: frame.accepted, body: frame.body });
          break;
        case 'failed':
          this.failed = frame.why;
          break;
        case 'session':
        case 'named':
        case 'unread':
        case 'filled':
        case 'worked':
          throw new Error(`a client without a route hears ${frame.kind}`);
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
  readonly number?: number;
  readonly onShardMap?: (map: ShardMap) => void;
  readonly others?: OtherShards;
  /** Instead of the log in memory. */
  readonly log?: ShardLog;
}

/** Disk, clock and one shard at a time. */
export class ShardWorld {
  readonly disk = new MemoryLogDisk();
  readonly records = new MemoryRecords();
  files = new MemoryFiles();
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
      runs: this.#runs(options.log ?? this.log),
      port: far,
      queues: options.queues ?? [queue('orders')],
      limits: { ...DEFAULT_SHARD_LIMITS, ...options.limits },
      clock: {
        wallMs: () => this.wallMs,
        monotonicMs: () => (this.monotonicMs += this.readingMs),
      },
      logger: { info: log('info'), warn: log('warn'), error: log('error') },
      inReserve: () => this.inReserve,
      diskFull: () => undefined,
      onFailure: (error) => void this.failures.push(error),
      ...(options.number === undefined ? {} : { number: options.number }),
      ...(options.onShardMap === undefined ? {} : { onShardMap: options.onShardMap }),
      others: options.others,
    });
    if (options.mode === 'by-hand') await this.syncUntil(opening);
    this.shard = await opening;
    const client = new PlainClient(near);
    client.hello();
    if (options.mode === 'by-hand') await this.syncUntil(until(() => client.boot > 0));
    await until(() => client.boot > 0 && client.knowsAll);
    return client;
  }

  #runs(log: ShardLog): Runs {
    return new Runs({
      files: this.files,
      directory: '/runs',
      owner: log.id,
      blockBytes: 4096,
      indexCacheBytes: 4096,
      now: () => this.wallMs,
    });
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
    this.files = this.files.crash();
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
