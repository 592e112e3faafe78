/**
 * The MQTT frontend: takes in who comes through its doors, counts and ends connections. Sessions
 * are those of all doors together.
 *
 * One timer looks at all connections for what should have happened by now. `stop` tells the clients
 * (0x8B), hands back what their consumers hold, and waits for the connections a bounded time.
 */

import type { Broker } from '../../broker/ports.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { AccessControl } from '../access.ts';
import { type Door, DoorError, type Transport } from '../transport.ts';
import { Connection } from './connection.ts';
import { type MqttContext, type MqttCounters, mqttCounters } from './context.ts';
import { type MqttOptions, mqttOptions } from './options.ts';
import { Held } from './held.ts';
import { ReasonCode } from './reason-codes.ts';
import { Sessions } from './sessions.ts';
import { Turn } from './turn.ts';

const SWEEP_MS = 500;
/** Connections that are swept in one piece, at some microseconds each. */
const SWEPT_AT_ONCE = 32;
/** Connections and subscriptions looked at in one piece when other rules hold. */
const JUDGED_AT_ONCE = 256;

export interface MqttListenerOptions {
  /** Where clients come in. */
  readonly doors: readonly Door[];
  /** What is left out has its default. */
  readonly mqtt?: Partial<MqttOptions>;
  /** Undefined: there are no users, and whoever comes may do everything. */
  readonly access?: AccessControl | undefined;
}

/** A `Frontend`; the composition root is where that is checked. */
export class MqttListener {
  readonly counters: MqttCounters;
  readonly sessions: Sessions;
  readonly doors: readonly Door[];
  readonly #context: MqttContext;
  readonly #connections = new Set<Connection>();
  readonly #awaitingShard = new Set<Connection>();
  /** Those who are still to be judged by new rules; undefined: all are. */
  #unjudged: Iterator<Connection> | undefined;
  /** Those who are still to be swept; undefined: all are. */
  #unswept: Iterator<Connection> | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #allClosed: (() => void) | undefined;
  #stopping: Promise<void> | undefined;

  constructor(broker: Broker, log: Logger, options: MqttListenerOptions) {
    const settings = mqttOptions(options.mqtt);
    this.doors = options.doors;
    const turn = new Turn();
    this.sessions = new Sessions(broker, settings, { log, turn });
    this.counters = mqttCounters();
    this.#context = {
      broker,
      options: settings,
      sessions: this.sessions,
      turn,
      log,
      counters: this.counters,
      strangers: { bytes: 0 },
      access: options.access,
      held: new Held(broker.clock),
    };
    options.access?.onChange(() => this.#accessChanged());
    broker.onWritable(() => this.#shardWritable());
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Rejects with a `DoorError`; then `stop` closes those that are open. */
  async start(): Promise<void> {
    const { broker, log } = this.#context;
    const entered = (transport: Transport): void => this.#entered(transport);
    for (const door of this.doors) {
      try {
        await door.open({ clock: broker.clock, log, entered });
      } catch (cause) {
        throw new DoorError(door, cause);
      }
    }
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const closed = Promise.all(this.doors.map((door) => door.close()));
    const gone = new Promise<void>((resolve) => {
      this.#allClosed = resolve;
    });
    const text = 'the server shuts down';
    for (const connection of this.#connections) {
      connection.end({ reasonCode: ReasonCode.serverShuttingDown, text }, true);
    }
    if (this.#connections.size > 0) await gone;
    await closed;
    clearInterval(this.#sweeper);
  }

  /** What time brings: time-outs, sessions that end. Called by a timer; piece by piece. */
  sweep(): void {
    const now = this.#context.broker.clock.now();
    for (const door of this.doors) door.sweep(now);
    this.sessions.tick();
    if (this.#unswept !== undefined) return;
    this.#unswept = this.#connections.values();
    if (this.#sweepSome()) this.#context.turn.goOn(() => this.#sweepSome());
  }

  /** True: there are more. */
  #sweepSome(): boolean {
    const now = this.#context.broker.clock.now();
    for (let left = SWEPT_AT_ONCE; left > 0; left--) {
      const next = this.#unswept?.next();
      if (next === undefined || next.done === true) {
        this.#unswept = undefined;
        return false;
      }
      next.value.sweep(now);
    }
    return true;
  }

  #entered(transport: Transport): void {
    this.counters.accepted++;
    const connection = new Connection(this.#context, transport, {
      awaitShard: (waiting) => this.#awaitingShard.add(waiting),
      closed: (gone) => this.#closed(gone),
    });
    this.#connections.add(connection);
    if (this.#stopping !== undefined) {
      const text = 'the server shuts down';
      connection.end({ reasonCode: ReasonCode.serverShuttingDown, text }, true);
    }
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    this.#awaitingShard.delete(connection);
    if (this.#connections.size === 0) this.#allClosed?.();
  }

  /** Everybody is looked at, piece by piece; who comes meanwhile comes under the new rules. */
  #accessChanged(): void {
    const isUnderWay = this.#unjudged !== undefined;
    this.#unjudged = this.#connections.values();
    if (!isUnderWay && this.#judgeSome()) this.#context.turn.goOn(() => this.#judgeSome());
  }

  /** True: there are more. */
  #judgeSome(): boolean {
    let left = JUDGED_AT_ONCE;
    while (left > 0) {
      const next = this.#unjudged?.next();
      if (next === undefined || next.done === true) {
        this.#unjudged = undefined;
        return false;
      }
      left -= next.value.accessChanged();
    }
    return true;
  }

  #shardWritable(): void {
    const waiting = [...this.#awaitingShard];
    this.#awaitingShard.clear();
    for (const connection of waiting) connection.shardWritable();
  }
}
