/**
 * One node, composed: health and metrics, shards, then the broker on top of them, then the
 * listeners; stopped in the opposite order, so that what is under way ends before what it needs is
 * gone.
 *
 * Knows every part, and none of them knows this. The end of the process is not decided here: who
 * started the node hears of a failure through `failed`.
 */

import { resolve } from 'node:path';
import { accessSettings } from './access-options.ts';
import { Access } from './access/access.ts';
import type { ClusterAdmin } from './admin/cluster-port.ts';
import { AdminServer } from './admin/server.ts';
import { MemoryBroker } from './broker/broker.ts';
import {
  AdminError,
  type QueueAdmin,
  type QueueClient,
  type QueueDirectory,
} from './broker/ports.ts';
import type { Config } from './config/config.ts';
import { NodeWatch } from './node-watch.ts';
import {
  type DoorSettings,
  type ShardSettings,
  adminOptions,
  brokerOptions,
  mqttDoors,
  mqttSettings,
  opsOptions,
  serverTlsSettings,
  shardSettings,
  systemInterval,
} from './options.ts';
import { NetDoor, type NetDoorOptions } from './protocol/doors/net-door.ts';
import { ServerTls } from './protocol/doors/server-tls.ts';
import type { Frontend } from './protocol/frontend.ts';
import { MqttListener } from './protocol/mqtt/listener.ts';
import { type Address, DoorError, type Scheme } from './protocol/transport.ts';
import { type SystemFigures, SystemTopics } from './system-topics.ts';
import type { Logger } from './telemetry/logger.ts';

/** The shards of this node, wherever they run. */
export interface ShardThreads {
  readonly queues: QueueClient;
  /** Plain numbers by name. */
  readonly stats: () => Promise<ReadonlyMap<string, number>>;
  /** What their thread tells of itself: `src/ops/thread-pulse.ts`. */
  readonly pulse: SharedArrayBuffer;
  /** Resolves with the reason when the store failed or its thread ended; never rejects. */
  readonly failed: Promise<Error>;
  /** Stores what is under way, and lets the data directory go. */
  stop(): Promise<void>;
}

export interface Starting {
  /** The replicas of this node take part, whoever leads; where it rejects, so does the start. */
  readonly running: (cluster: ClusterAdmin) => Promise<void>;
  /** Aborted: whoever waits for a leader gives up, stops in order, and rejects. */
  readonly signal?: AbortSignal | undefined;
}

/** Locks the data directory, recovers, and resolves when publishes can be stored. */
export type StartShards = (
  settings: ShardSettings,
  log: Logger,
  starting: Starting,
) => Promise<ShardThreads>;

/** Asked to stop before there was a leader: everything that was started has stopped in order. */
export class StartGivenUp extends Error {
  constructor() {
    super('asked to stop before the shard had a leader');
    this.name = 'StartGivenUp';
  }
}

export interface Listening extends Address {
  readonly scheme: Scheme;
}

/** A listener could not be opened; `cause` is the error of the system. */
export class ListenError extends Error {
  /** `key` says where it was configured. */
  constructor(address: Address | undefined, key: string, cause: unknown) {
    const { host, port } = address ?? { host: '', port: 0 };
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const why = LISTEN_ERRORS.get(code) ?? (cause instanceof Error ? cause.message : String(cause));
    super(`cannot listen on ${host}:${port} (${key}): ${why}`, { cause });
    this.name = 'ListenError';
  }
}

const LISTEN_ERRORS = new Map([
  ['EADDRINUSE', 'another program listens there already'],
  ['EADDRNOTAVAIL', 'this machine has no such address'],
  ['EACCES', 'this user may not listen on that port'],
  ['ENOTFOUND', 'no such host is known'],
]);

export interface NodeParts {
  readonly config: Config;
  readonly log: Logger;
  /** Of the package, for those who ask. */
  readonly version: string;
  readonly startShards: StartShards;
  /** Whether standard error is a terminal. */
  readonly terminal: boolean;
  /** Aborted: a start that still waits for a leader rejects with `StartGivenUp`. */
  readonly signal?: AbortSignal;
}

interface OwnParts {
  readonly watch: NodeWatch;
  readonly admin: NodeAdmin;
  readonly tls: ServerTls | undefined;
  readonly access: Access | undefined;
}

export class Node {
  readonly dataDirectory: string;
  readonly failed: Promise<Error>;
  readonly #shards: ShardThreads;
  readonly #watch: NodeWatch;
  readonly #broker: MemoryBroker;
  readonly #frontends: readonly Frontend[];
  readonly #system: SystemTopics;
  readonly #admin: NodeAdmin;
  readonly #tls: ServerTls | undefined;
  readonly #access: Access | undefined;
  #reloading: Promise<void> = Promise.resolve();
  readonly #log: Logger;
  #stopping: Promise<void> | undefined;

  private constructor(
    shards: ShardThreads,
    { config, log, version }: NodeParts,
    { watch, admin, tls, access }: OwnParts,
  ) {
    this.dataDirectory = resolve(config.data_dir);
    this.#watch = watch;
    this.failed = shards.failed;
    this.#shards = shards;
    this.#log = log;
    const broker = new MemoryBroker(
      shards.queues,
      { now: () => performance.now() },
      { ...brokerOptions(config), access },
    );
    this.#broker = broker;
    this.#tls = tls;
    this.#access = access;
    const doors = mqttDoors(config).map((settings) => new NetDoor(withTls(settings, tls)));
    const mqtt = new MqttListener(broker, log, { doors, mqtt: mqttSettings(config), access });
    this.#frontends = [mqtt];
    this.#system = new SystemTopics(systemInterval(config), {
      version,
      figures: () => systemFigures(broker, mqtt),
      now: () => broker.clock.now(),
      tell: (topic, text) => broker.tell(topic, text),
    });
    const { stats, pulse, failed } = shards;
    watch.watch({ broker, mqtt, access, stats, pulse, failed });
    this.#admin = admin;
    admin.served(shards);
  }

  /**
   * Rejects with a `StorageError`, a `ListenError`, an `AdminSocketError`, a `ServerTlsError`, an
   * `AccessFileError` or `StartGivenUp`; then nothing is left running.
   */
  static async start(parts: NodeParts): Promise<Node> {
    const { config, log, startShards, terminal, signal } = parts;
    const settings = shardSettings(config, resolve(config.data_dir), terminal);
    // Before anything else: what is wrong with a file is told at once.
    const tlsSettings = serverTlsSettings(config);
    const tls = tlsSettings && (await ServerTls.read(tlsSettings, log));
    const accessFiles = accessSettings(config);
    const access = accessFiles && (await Access.read(accessFiles, log));
    const watch = new NodeWatch(opsOptions(config), log);
    // Before the recovery, which may take long: a supervisor wants to see that it is under way.
    const watching = watch.listen().then(() => undefined, asListenError(config));
    const admin = new NodeAdmin(parts, settings.dataDirectory);
    let node: Node;
    try {
      const running = (cluster: ClusterAdmin): Promise<void> => admin.start(cluster);
      const shards = await startShards(settings, log, { running, signal });
      node = new Node(shards, parts, { watch, admin, tls, access });
    } catch (error) {
      await Promise.all([admin.stop(), watch.stop()]);
      if (error instanceof StartGivenUp) log.info({}, 'stopped');
      throw error;
    }
    try {
      // Told after what the shards say: that another broker has the data explains it better.
      const refused = await watching;
      if (refused !== undefined) throw refused;
      await node.#load(signal);
      await node.#listen();
    } catch (error) {
      await node.stop();
      throw error;
    }
    watch.running();
    const { dataDirectory, listening, ops } = node;
    log.info({ dataDirectory, listening, ops }, 'started');
    return node;
  }

  /** Where health and metrics are; undefined: off. */
  get ops(): { readonly host: string; readonly port: number } | undefined {
    return this.#watch.address;
  }

  get listening(): Listening[] {
    const doors = this.#frontends.flatMap((frontend) => frontend.doors);
    return doors.flatMap(({ scheme, address }) =>
      address === undefined ? [] : [{ scheme, ...address }],
    );
  }

  /** The socket of the command line; undefined where there is none. */
  get adminSocket(): string | undefined {
    return this.#admin.path;
  }

  get queues(): QueueDirectory {
    return this.#shards.queues.queues;
  }

  /**
   * Reads the files of TLS, of users and of rules again, one time after the other. If one does not
   * do, all stay as they are, and the log says why.
   */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reload());
    return this.#reloading;
  }

  async #reload(): Promise<void> {
    const policy = await this.#access?.readAgain();
    if (this.#access !== undefined && policy === undefined) return;
    if ((await this.#tls?.reload()) === false) return;
    if (policy !== undefined) this.#access?.take(policy);
  }

  /**
   * Tells the clients, stores what is under way, lets the data directory go. Again: the same stop.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #load(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#broker.load(signal);
    } catch (error) {
      if (signal?.aborted === true) throw new StartGivenUp();
      throw error;
    }
  }

  async #listen(): Promise<void> {
    this.#broker.start();
    this.#system.start();
    for (const frontend of this.#frontends) {
      try {
        await frontend.start();
      } catch (error) {
        if (!(error instanceof DoorError)) throw error;
        throw new ListenError(error.door.place, error.door.key, error.cause);
      }
    }
  }

  async #stop(): Promise<void> {
    this.#log.info({}, 'stopping');
    this.#watch.stopping();
    const stops = this.#frontends.map((frontend) => frontend.stop());
    await Promise.all([this.#admin.stop(), ...stops]);
    this.#system.stop();
    this.#broker.stop();
    try {
      await this.#shards.stop();
    } finally {
      await this.#watch.stop();
    }
    this.#log.info({}, 'stopped');
  }
}

/**
 * The admin socket, open as soon as the replicas run: who looks after a cluster needs it most while
 * nobody leads. Queues follow when this node can serve them.
 */
class NodeAdmin {
  readonly #parts: NodeParts;
  readonly #dataDirectory: string;
  #server: AdminServer | undefined;
  #queues: QueueAdmin | undefined;

  constructor(parts: NodeParts, dataDirectory: string) {
    this.#parts = parts;
    this.#dataDirectory = dataDirectory;
  }

  get path(): string | undefined {
    return this.#server?.path;
  }

  async start(cluster: ClusterAdmin): Promise<void> {
    const { config, log } = this.#parts;
    const options = adminOptions(config, this.#dataDirectory);
    if (options === undefined) return;
    const server = new AdminServer({ cluster, queues: () => this.#served() }, log, options);
    await server.start();
    this.#server = server;
  }

  /** The client of this node is there. */
  served({ queues }: ShardThreads): void {
    this.#queues = queues.admin;
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
  }

  #served(): QueueAdmin {
    if (this.#queues !== undefined) return this.#queues;
    throw new AdminError('unavailable', 'no queue is served here yet: nobody leads the shard');
  }
}

function systemFigures(broker: MemoryBroker, mqtt: MqttListener): SystemFigures {
  const { counters, sessions } = mqtt;
  return {
    connected: sessions.connected,
    sessions: sessions.clean + broker.durableSessions,
    received: counters.received,
    sent: counters.sent,
    dropped: counters.droppedSlow + counters.droppedTooLarge + sessions.totals.dropped,
    subscriptions: broker.subscriptionCount,
    retained: broker.retainedCount,
  };
}

function withTls(
  { clients, ...options }: DoorSettings,
  tls: ServerTls | undefined,
): NetDoorOptions {
  if (clients === undefined || tls === undefined) return options;
  return { ...options, tls: { tls, clients } };
}

function asListenError({ server }: Config): (cause: unknown) => ListenError {
  return (cause) => new ListenError(server.ops.addr, 'server.ops.addr', cause);
}
