/**
 * The node as health and metrics see it: the listener for them, and the one place where the numbers
 * of the parts get their names.
 *
 * It is there before the recovery and until everything else is closed; what does not run yet, or
 * any more, gives nothing. Counts nothing itself.
 */

import type { MemoryBroker } from './broker/broker.ts';
import type { Figures, OpsSources, Stage } from './ops/figures.ts';
import { OpsListener } from './ops/ops-listener.ts';
import type { OpsOptions } from './ops/ops-options.ts';
import { ThreadPulse, pulseMemory, readPulse } from './ops/thread-pulse.ts';
import type { MqttListener } from './protocol/mqtt/listener.ts';
import type { Logger } from './telemetry/logger.ts';

/** What runs between a start and a stop. */
export interface Watched {
  readonly broker: MemoryBroker;
  readonly mqtt: readonly MqttListener[];
  readonly stats: () => Promise<Figures>;
  /** Of the shards' thread: see `thread-pulse.ts`. */
  readonly pulse: SharedArrayBuffer;
  readonly failed: Promise<Error>;
}

export class NodeWatch {
  readonly #memory = pulseMemory();
  readonly #pulse = new ThreadPulse(this.#memory);
  readonly #listener: OpsListener | undefined;
  #stage: Stage = 'starting';
  #watched: Watched | undefined;
  #failure: string | undefined;

  constructor(options: OpsOptions | undefined, log: Logger) {
    if (options !== undefined) this.#listener = new OpsListener(options, this.#sources(), log);
  }

  get address(): { readonly host: string; readonly port: number } | undefined {
    return this.#listener?.address;
  }

  /** Rejects when the address cannot be had. */
  async listen(): Promise<void> {
    await this.#listener?.start();
  }

  /** The parts are made; recovery is done. */
  watch(watched: Watched): void {
    this.#watched = watched;
    void watched.failed.then((error) => {
      this.#failure = error.message;
    });
  }

  /** Clients can connect. */
  running(): void {
    this.#stage = 'running';
  }

  stopping(): void {
    this.#stage = 'stopping';
  }

  async stop(): Promise<void> {
    await this.#listener?.stop();
    this.#pulse.stop();
  }

  #sources(): OpsSources {
    return {
      stage: () => this.#stage,
      storeFailure: () => this.#failure,
      closedListeners: () => this.#closedListeners(),
      node: () => nodeFigures(this.#watched),
      shards: () => this.#watched?.stats(),
      shardThread: () => {
        const pulse = this.#watched?.pulse;
        return pulse === undefined ? undefined : readPulse(pulse);
      },
      mainThread: () => readPulse(this.#memory),
    };
  }

  #closedListeners(): string[] {
    const mqtt = this.#watched?.mqtt ?? [];
    return mqtt.flatMap(({ address }) => (address === undefined ? ['server.mqtt.tcp.addr'] : []));
  }
}

function nodeFigures(watched: Watched | undefined): Figures {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const figures = new Map([
    ['process/resident-bytes', rss],
    ['process/heap-bytes', heapUsed],
    ['process/cpu-ms', (user + system) / 1_000],
    ['process/uptime-ms', process.uptime() * 1_000],
  ]);
  if (watched === undefined) return figures;
  const { broker, mqtt } = watched;
  const { published, fannedOut, refused, unansweredRefused, captured, captureLost } =
    broker.counters;
  figures.set('broker/published', published);
  figures.set('broker/fanned-out', fannedOut);
  figures.set('broker/refused', refused);
  figures.set('broker/unanswered-lost', unansweredRefused);
  figures.set('broker/captured', captured);
  figures.set('broker/capture-lost', captureLost);
  figures.set('broker/subscriptions', broker.subscriptionCount);
  figures.set('broker/retained', broker.retainedCount);
  for (const listener of mqtt) addMqtt(figures, listener);
  return figures;
}

function addMqtt(figures: Map<string, number>, listener: MqttListener): void {
  const { counters, sessions, connectionCount } = listener;
  const add = (name: string, value: number): void => {
    figures.set(name, (figures.get(name) ?? 0) + value);
  };
  add('mqtt/connections', connectionCount);
  add('mqtt/sessions', sessions.count);
  add('mqtt/accepted', counters.accepted);
  add('mqtt/connected', counters.connected);
  add('mqtt/in', counters.received);
  add('mqtt/out', counters.sent);
  add('mqtt/refused', counters.refusedPublishes);
  add('mqtt/protocol-errors', counters.protocolErrors);
  add('mqtt-dropped/slow', counters.droppedSlow);
  add('mqtt-dropped/too-large', counters.droppedTooLarge);
}
