/**
 * One node, composed: shards, then the broker on top of them, then the listeners; stopped in the
 * opposite order, so that what is under way ends before what it needs is gone.
 *
 * Knows every part, and none of them knows this. The end of the process is not decided here: who
 * started the node hears of a failure through `failed`.
 */

import { resolve } from 'node:path';
import { AdminServer } from './admin/server.ts';
import { MemoryBroker } from './broker/broker.ts';
import type { QueueClient } from './broker/ports.ts';
import type { Config } from './config/config.ts';
import {
  type ShardSettings,
  adminOptions,
  brokerOptions,
  mqttListeners,
  shardSettings,
} from './options.ts';
import type { Frontend } from './protocol/frontend.ts';
import { MqttListener } from './protocol/mqtt/listener.ts';
import type { Logger } from './telemetry/logger.ts';

/** The shards of this node, wherever they run. */
export interface ShardThreads {
  readonly queues: QueueClient;
  /** Resolves with the reason when the store failed or its thread ended; never rejects. */
  readonly failed: Promise<Error>;
  /** Stores what is under way, and lets the data directory go. */
  stop(): Promise<void>;
}

/** Locks the data directory, recovers, and resolves when publishes can be stored. */
export type StartShards = (settings: ShardSettings, log: Logger) => Promise<ShardThreads>;

export interface Listening {
  readonly protocol: 'MQTT';
  readonly host: string;
  readonly port: number;
}

/** A listener could not be opened; `cause` is the error of the system. */
export class ListenError extends Error {
  constructor(host: string, port: number, cause: unknown) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const why = LISTEN_ERRORS.get(code) ?? (cause instanceof Error ? cause.message : String(cause));
    super(`cannot listen on ${host}:${port}: ${why}`, { cause });
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
  readonly startShards: StartShards;
  /** Whether standard error is a terminal. */
  readonly terminal: boolean;
}

export class Node {
  readonly dataDirectory: string;
  readonly failed: Promise<Error>;
  readonly #shards: ShardThreads;
  readonly #broker: MemoryBroker;
  readonly #frontends: readonly Frontend[];
  readonly #admin: AdminServer | undefined;
  readonly #log: Logger;
  #stopping: Promise<void> | undefined;

  private constructor(shards: ShardThreads, { config, log }: NodeParts, dataDirectory: string) {
    this.dataDirectory = dataDirectory;
    this.failed = shards.failed;
    this.#shards = shards;
    this.#log = log;
    const broker = new MemoryBroker(
      shards.queues,
      { now: () => performance.now() },
      brokerOptions(config),
    );
    this.#broker = broker;
    this.#frontends = mqttListeners(config).map(
      (options) => new MqttListener(broker, log, options),
    );
    const admin = adminOptions(config, dataDirectory);
    this.#admin = admin && new AdminServer(shards.queues.admin, log, admin);
  }

  /**
   * Rejects with a `StorageError`, a `ListenError` or an `AdminSocketError`, and then nothing is left
   * running.
   */
  static async start(parts: NodeParts): Promise<Node> {
    const { config, log, startShards, terminal } = parts;
    const directory = resolve(config.data_dir);
    const shards = await startShards(shardSettings(config, directory, terminal), log);
    const node = new Node(shards, parts, directory);
    try {
      await node.#listen(config);
    } catch (error) {
      await node.stop();
      throw error;
    }
    log.info({ dataDirectory: directory, listening: node.listening }, 'started');
    return node;
  }

  get listening(): Listening[] {
    return this.#frontends.flatMap(({ address }) =>
      address === undefined ? [] : [{ protocol: 'MQTT' as const, ...address }],
    );
  }

  /** The socket of the command line; undefined where there is none. */
  get adminSocket(): string | undefined {
    return this.#admin?.path;
  }

  get queueNames(): string[] {
    return this.#shards.queues.queues.map(({ name }) => name);
  }

  /**
   * Tells the clients, stores what is under way, lets the data directory go. Again: the same stop.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #listen(config: Config): Promise<void> {
    this.#broker.start();
    for (const frontend of this.#frontends) {
      try {
        await frontend.start();
      } catch (cause) {
        const { host, port } = config.server.mqtt.tcp.addr ?? { host: '', port: 0 };
        throw new ListenError(host, port, cause);
      }
    }
    await this.#admin?.start();
  }

  async #stop(): Promise<void> {
    this.#log.info({}, 'stopping');
    const stops = this.#frontends.map((frontend) => frontend.stop());
    await Promise.all([this.#admin?.stop(), ...stops]);
    this.#broker.stop();
    await this.#shards.stop();
    this.#log.info({}, 'stopped');
  }
}
