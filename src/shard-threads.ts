/**
 * Starts the shards, in a thread of their own or beside the frontends, and gives the main thread's
 * end of the port. Which of both is a setting; the code that runs is the same.
 *
 * `failed` resolves with the reason when the store failed or the thread ended by itself; a stop
 * resolves it never. Nothing is started again: the process is to end, and the next start recovers.
 */

import { MessageChannel, Worker, type WorkerOptions } from 'node:worker_threads';
import { ConfigError } from './config/config.ts';
import { ThreadPulse, pulseMemory } from './ops/thread-pulse.ts';
import { StartGivenUp } from './node.ts';
import type { ShardThreads, StartShards } from './node.ts';
import { type ShardSettings, isOneShard } from './options.ts';
import { ShardClient } from './shard/client.ts';
import { declareConfigured } from './shard/configured-queues.ts';
import { QueueClients } from './shard/queue-clients.ts';
import { DeclarationError } from './shard/declarations.ts';
import { ShardError } from './shard/shard-error.ts';
import { type BatchPort, ThreadBatchPort, loopback } from './shard/port.ts';
import type { Logger } from './telemetry/logger.ts';
import { OthersDesk } from './others-talk.ts';
import type { OtherShards } from './shard/other-shards.ts';
import { ShardToShard } from './shard/shard-to-shard.ts';
import { ThreadAsks } from './thread-asks.ts';
import {
  type Asked,
  type WorkerHears,
  type WorkerInput,
  type WorkerSays,
  errorOf,
  refusalOf,
} from './worker-talk.ts';

/**
 * The last checkpoint and sync of a slow disk have room in it, and it is shorter than the 90 s that
 * service managers wait before they kill.
 */
const STOP_MS_MAX = 60_000;

/**
 * How long new queues of the configuration wait for shards that are still to be made. Those that
 * come later are for later queues.
 */
const SPREAD_MS_MAX = 10_000;

/**
 * Rejects with a StorageError, with a ConfigError when a queue cannot be what is asked for, or with
 * StartGivenUp.
 */
export const startShards: StartShards = async (settings, logger, { running, signal }) => {
  const failure = new Failure();
  try {
    const host = await (settings.thread === 'worker'
      ? startWorker(settings, failure)
      : startHere(settings, logger, failure));
    try {
      await running(host.asked.cluster);
    } catch (error) {
      failure.stopping = true;
      await inTime(host, host.stop());
      // No client was made that would close them, and an open port keeps the process alive.
      closePorts(host);
      throw error;
    }
    return await withClient(settings, logger, { host, failure, signal });
  } catch (error) {
    throw error instanceof DeclarationError ? asConfigError(error) : error;
  }
};

/** What runs the shards, seen from the main thread. */
interface Host {
  /** Of shard 0. */
  readonly port: BatchPort;
  /** Of those beside it. */
  readonly shards: ShardPorts;
  /** What the shards ask each other through the clients here. */
  readonly others: OthersDesk;
  /** Of the shard whose queues live in memory. */
  readonly volatilePort: BatchPort;
  /** Everything is stored and closed when it resolves. */
  stop(): Promise<void>;
  /** Ends what can be ended from outside, after a stop that failed. */
  abandon(): Promise<unknown>;
  readonly pulse: SharedArrayBuffer;
  readonly asked: Asked;
  /** Resolves when nothing of it runs any more, which is some time after the port was closed. */
  readonly ended: Promise<void>;
}

/** The ways to the shards that there are beside shard 0, as they come. */
class ShardPorts {
  readonly #ports = new Map<number, BatchPort>();
  #listener: ((shard: number, port: BatchPort) => void) | undefined;

  add(shard: number, port: BatchPort): void {
    this.#ports.set(shard, port);
    this.#listener?.(shard, port);
  }

  /** Also of those that are there. Once. */
  onShard(listener: (shard: number, port: BatchPort) => void): void {
    this.#listener = listener;
    for (const [shard, port] of this.#ports) listener(shard, port);
  }

  close(): void {
    for (const port of this.#ports.values()) port.close();
  }
}

function closePorts({
  port,
  volatilePort,
  shards,
}: Pick<Host, 'port' | 'volatilePort' | 'shards'>): void {
  port.close();
  volatilePort.close();
  shards.close();
}

/** The first reason counts; once a stop is asked for, an end is no failure. */
class Failure {
  readonly happened: Promise<Error>;
  #tell: (error: Error) => void = () => undefined;
  stopping = false;

  constructor() {
    this.happened = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  tell(error: Error): void {
    if (!this.stopping) this.#tell(error);
  }
}

interface Opening {
  readonly host: Host;
  readonly failure: Failure;
  readonly signal: AbortSignal | undefined;
}

async function withClient(
  settings: ShardSettings,
  logger: Logger,
  { host, failure, signal }: Opening,
): Promise<ShardThreads> {
  let client: QueueClients;
  const { peers } = settings;
  const routed = peers && { isRouted: true, rejects: peers.rejects };
  const open = (port: BatchPort, more?: typeof routed): Promise<ShardClient> =>
    ShardClient.open({
      ...more,
      port,
      node: settings.node,
      logger,
      limits: { ...settings.client, messageBytesMax: settings.maxMessageBytes },
      signal,
      onFailed: (why) => failure.tell(new Error(why)),
    });
  try {
    if (signal?.aborted === true) throw new StartGivenUp();
    const { ackTimeoutMs, maxSessions } = settings.client;
    const zero = await open(host.port, routed);
    client = new QueueClients(zero, await open(host.volatilePort), {
      isShared: peers !== undefined,
      ackTimeoutMs,
      maxSessions,
    });
    const started = { logger, signal, failure };
    addShards(client, host, { ...started, zero, open: (port) => open(port, routed) });
    const missing = await client.complete(peers?.startGraceMs ?? Number.POSITIVE_INFINITY, signal);
    const declared = declareQueues(settings, client, started);
    if (missing.length === 0) await declared;
    else goOnWithout(missing, declared, started);
  } catch (error) {
    failure.stopping = true;
    await inTime(host, host.stop());
    closePorts(host);
    await host.ended;
    throw signal?.aborted === true && error instanceof ShardError ? new StartGivenUp() : error;
  }
  const inOrder = async (): Promise<void> => {
    // Behind everything that was said until now: a settlement of this turn still counts. Where
    // the shard is gone it is refused at once.
    await client.stop().catch(() => undefined);
    await host.stop();
  };
  return {
    queues: client,
    stats: async () => {
      const figures = new Map(await host.asked.stats());
      return figures.set('limited/session-keys', client.keysCrowdedOut);
    },
    pulse: host.pulse,
    failed: failure.happened,
    stop: async () => {
      failure.stopping = true;
      try {
        await inTime(host, inOrder());
      } finally {
        host.others.close();
        client.close();
        closePorts(host);
      }
      await host.ended;
    },
  };
}

/** What a shard does not declare by itself: of several, nobody knows which one has a name. */
async function declareQueues(
  settings: ShardSettings,
  client: QueueClients,
  { logger, signal }: Started,
): Promise<void> {
  if (isOneShard(settings) && client.shardCount === 1) return;
  for (const { name, type } of settings.queues) {
    const there = type === 'ephemeral' ? client.loggedType(name) : undefined;
    if (there === undefined) continue;
    const words = `queue ${name} exists with type ${there}, and is declared with type ephemeral`;
    throw new DeclarationError('exists', words);
  }
  await declareConfigured({
    queues: settings.queues.filter(({ type }) => type !== 'ephemeral'),
    groups: settings.groups,
    admin: client.admin,
    spread: () => client.reached(settings.shards.count, SPREAD_MS_MAX),
    isAlone: settings.peers === undefined,
    isClosed: () => client.isClosed,
    logger,
    signal,
  });
}

interface Started {
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
  readonly failure: Failure;
}

/** Queues of the configuration that are there, or come behind one that is, wait for them. */
function goOnWithout(
  missing: readonly number[],
  declared: Promise<void>,
  { logger, signal, failure }: Started,
): void {
  logger.warn({ shards: missing.join(' ') }, 'clients are taken without shards that nobody leads');
  declared.catch((error: Error) => {
    if (signal?.aborted !== true) failure.tell(error);
  });
}

interface Adding extends Started {
  readonly zero: ShardClient;
  readonly open: (port: BatchPort) => Promise<ShardClient>;
}

/** Each shard has a client as soon as its leader is reached; shards ask each other through them. */
function addShards(clients: QueueClients, host: Host, adding: Adding): void {
  const { zero, failure, open, logger, signal } = adding;
  const all = new Map([[0, zero]]);
  host.others.open((own) => new ShardToShard({ own, client: (shard) => all.get(shard) }));
  host.shards.onShard((shard, port) => {
    open(port).then(
      (client) => {
        all.set(shard, client);
        const wasMissing = clients.addShard(shard, client);
        if (wasMissing) logger.info({ shard }, 'a leader of the shard is reached');
      },
      (error: Error) => {
        if (signal?.aborted !== true) failure.tell(error);
      },
    );
  });
}

/** A thread that never answers, or that failed, is ended: what is acknowledged is on the disk. */
async function inTime(host: Host, stopped: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const text = `the shards had not stopped after ${STOP_MS_MAX / 1000} s`;
    timer = setTimeout(() => reject(new Error(text)), STOP_MS_MAX);
  });
  try {
    await Promise.race([stopped, late]);
  } catch (error) {
    await host.abandon();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function startHere(settings: ShardSettings, logger: Logger, failure: Failure): Promise<Host> {
  const [near, far] = loopback();
  const [volatileNear, volatileFar] = loopback();
  const onFailure = (error: Error): void => failure.tell(error);
  const memory = pulseMemory();
  const pulse = new ThreadPulse(memory);
  const shards = new ShardPorts();
  const openPort = (shard: number): BatchPort => {
    const [ours, theirs] = loopback();
    shards.add(shard, ours);
    return theirs;
  };
  const desk = new OthersDesk();
  const others = (shard: number): OtherShards => desk.of(shard);
  const ports = { port: far, volatilePort: volatileFar, openPort, others };
  // With a thread of their own, all of this is there and not here.
  const { openShardHost } = await import('./shard-host.ts');
  const opening = openShardHost({ settings, ...ports, logger, pulse, onFailure });
  const host = await opening.catch((error: unknown) => {
    pulse.stop();
    throw error;
  });
  return {
    port: near,
    volatilePort: volatileNear,
    shards,
    others: desk,
    pulse: memory,
    asked: host,
    stop: () => host.stop().finally(() => pulse.stop()),
    abandon: () => Promise.resolve(),
    ended: Promise.resolve(),
  };
}

/**
 * Of the shards' thread, which makes little that lives for a moment: left alone, the engine lets
 * these spaces grow to four times as much, and gives none of it back.
 */
const YOUNG_GENERATION_MB = 12;

/**
 * The compiled worker, also when the rest runs from its sources (Node takes no TypeScript); then
 * without the options of the process, which would lead it to sources again.
 */
function newWorker(options: WorkerOptions): Worker {
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./worker.js', import.meta.url), options);
  }
  const compiled = new URL('../dist/src/worker.js', import.meta.url);
  return new Worker(compiled, { ...options, execArgv: [] });
}

async function startWorker(settings: ShardSettings, failure: Failure): Promise<Host> {
  const { port1, port2 } = new MessageChannel();
  const inMemory = new MessageChannel();
  const shards = new ShardPorts();
  const ways = {
    port: new ThreadBatchPort(port1),
    volatilePort: new ThreadBatchPort(inMemory.port1),
    shards,
  };
  const pulse = pulseMemory();
  const ports = { port: port2, volatilePort: inMemory.port2 };
  const input: WorkerInput = { settings, ...ports, pulse };
  const worker = newWorker({
    name: 'shards',
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    workerData: input,
    transferList: [port2, inMemory.port2],
  });
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => resolve());
  });
  const others = new OthersDesk();
  const hear = (words: WorkerHears): void => worker.postMessage(words);
  const asks = new ThreadAsks(hear);
  void ended.then(() => asks.end(new Error('the thread of the shards has ended')));
  worker.on('error', (error) => failure.tell(error));
  worker.once('exit', () => failure.tell(new Error('the thread of the shards ended')));
  let stopped: (error?: Error) => void = () => undefined;
  await new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    // It may end without a word, out of memory for one: nobody may wait for it then.
    worker.once('exit', () => reject(new Error('the thread of the shards ended in its start')));
    const hearing: Hearing = {
      shards,
      others,
      asks,
      failure,
      hear,
      ready: resolve,
      refused: reject,
      stopped: (error) => stopped(error),
    };
    worker.on('message', (said: WorkerSays) => heard(said, hearing));
  }).catch(async (error: unknown) => {
    closePorts(ways);
    await worker.terminate();
    throw error;
  });
  return {
    ...ways,
    others,
    pulse,
    asked: asks.asked,
    stop: async () => {
      const done = new Promise<void>((resolve, reject) => {
        stopped = (error) => (error === undefined ? resolve() : reject(error));
        void ended.then(() =>
          reject(new Error('the thread of the shards ended before it had stopped')),
        );
      });
      worker.postMessage({ kind: 'stop' } satisfies WorkerHears);
      await done;
    },
    abandon: () => worker.terminate(),
    ended,
  };
}

interface Hearing {
  readonly shards: ShardPorts;
  readonly others: OthersDesk;
  readonly asks: ThreadAsks;
  readonly failure: Failure;
  readonly hear: (words: WorkerHears) => void;
  readonly ready: () => void;
  readonly refused: (error: Error) => void;
  readonly stopped: (error?: Error) => void;
}

/** What the thread of the shards says. */
function heard(said: WorkerSays, on: Hearing): void {
  switch (said.kind) {
    case 'ready':
      on.ready();
      break;
    case 'refused':
      on.refused(errorOf(said.refusal));
      break;
    case 'failed':
      on.failure.tell(new Error(said.message));
      on.stopped(new Error(said.message));
      break;
    case 'stopped':
      on.stopped();
      break;
    case 'shard':
      on.shards.add(said.number, new ThreadBatchPort(said.port));
      break;
    case 'ask-others':
      answerShard(on.others, said, on.hear);
      break;
    case 'told':
    case 'not-told':
      on.asks.heard(said);
  }
}

function answerShard(
  others: OthersDesk,
  { id, shard, ask }: Extract<WorkerSays, { kind: 'ask-others' }>,
  hear: (words: WorkerHears) => void,
): void {
  others.answer(shard, ask).then(
    (told) => hear({ kind: 'others-told', id, told }),
    (error: unknown) => hear({ kind: 'others-failed', id, refusal: refusalOf(error) }),
  );
}

function asConfigError(error: DeclarationError): ConfigError {
  const place = { source: 'the queues that the data directory holds', line: 0, column: 0 };
  const problem = { code: 'conflict', place, key: 'queues', text: error.message } as const;
  return new ConfigError([problem], { cause: error });
}
