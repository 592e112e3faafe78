/**
 * The node as health and metrics see it: the listener for them, and the one place where the numbers
 * of the parts get their names.
 *
 * It is there before the recovery and until everything else is closed; what does not run yet, or
 * any more, gives nothing. Counts nothing itself.
 */

import type { Access } from './access/access.ts';
import { CALLOUT_OUTCOMES } from './access/callout.ts';
import { TOKEN_REFUSALS } from './access/tokens.ts';
import type { MemoryBroker } from './broker/broker.ts';
import type { Figures, OpsSources, Stage } from './ops/figures.ts';
import { OpsListener } from './ops/ops-listener.ts';
import type { OpsOptions } from './ops/ops-options.ts';
import { ThreadPulse, pulseMemory, readPulse } from './ops/thread-pulse.ts';
import type { MqttListener } from './protocol/mqtt/listener.ts';
import type { Door } from './protocol/transport.ts';
import type { Logger } from './telemetry/logger.ts';

/** What runs between a start and a stop. */
export interface Watched {
  readonly broker: MemoryBroker;
  readonly mqtt: MqttListener;
  /** Undefined: there are no users. */
  readonly access: Access | undefined;
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
    const doors = this.#watched?.mqtt.doors ?? [];
    return doors.flatMap(({ address, key }) => (address === undefined ? [key] : []));
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
  const { broker, mqtt, access } = watched;
  const { published, fannedOut, refused, unansweredRefused, captured, captureLost } =
    broker.counters;
  figures.set('broker/published', published);
  figures.set('broker/fanned-out', fannedOut);
  figures.set('broker/share-lost', broker.lostByShares);
  figures.set('broker/refused', refused);
  figures.set('broker/unanswered-lost', unansweredRefused);
  figures.set('broker/captured', captured);
  figures.set('broker/capture-lost', captureLost);
  figures.set('broker/subscriptions', broker.subscriptionCount);
  figures.set('broker/durable-sessions', broker.durableSessions);
  figures.set('broker/retained', broker.retainedCount);
  figures.set('broker/retained-bytes', broker.retainedBytes);
  addMqtt(figures, mqtt);
  addLimited(figures, watched);
  for (const door of mqtt.doors) addDoor(figures, door);
  if (access !== undefined) addAccess(figures, access);
  return figures;
}

function addAccess(figures: Map<string, number>, access: Access): void {
  const { counters, waiting, refusedTokens } = access;
  figures.set('access-refused/bad-credentials', counters.badCredentials);
  figures.set('access-refused/not-authorized', counters.notAuthorized);
  figures.set('access-refused/busy', counters.busy);
  for (const [action, denied] of Object.entries(counters.denied)) {
    figures.set(`access-denied/${action}`, denied);
  }
  for (const why of TOKEN_REFUSALS) {
    figures.set(`access-token-refused/${why}`, refusedTokens?.[why] ?? 0);
  }
  const { logins, verdicts } = access;
  for (const [name, asked] of [['callout', logins] as const, ['authorize', verdicts] as const]) {
    for (const outcome of CALLOUT_OUTCOMES) {
      figures.set(`access-${name}/${outcome}`, asked?.callout.counters[outcome] ?? 0);
    }
    figures.set(`access-${name}/remembered`, asked?.remembered ?? 0);
    figures.set(`access/${name}-waiting`, asked?.callout.waiting ?? 0);
  }
  figures.set('access/withheld', counters.withheld);
  figures.set('access/waiting', waiting);
}

function addMqtt(figures: Map<string, number>, listener: MqttListener): void {
  const { counters, sessions, connectionCount } = listener;
  figures.set('mqtt/connections', connectionCount);
  figures.set('mqtt/sessions', sessions.count);
  figures.set('mqtt/accepted', counters.accepted);
  figures.set('mqtt/connected', counters.connected);
  figures.set('mqtt/in', counters.received);
  figures.set('mqtt/out', counters.sent);
  figures.set('mqtt/refused', counters.refusedPublishes);
  figures.set('mqtt/protocol-errors', counters.protocolErrors);
  figures.set('mqtt-dropped/slow', counters.droppedSlow);
  figures.set('mqtt-dropped/too-large', counters.droppedTooLarge);
}

/** What limits held back: some are the protocol's, some the broker's, some both. */
function addLimited(figures: Map<string, number>, { broker, mqtt }: Watched): void {
  const { topicTooDeep, topicTooLong, retainedFull } = broker.counters;
  const { limited } = mqtt.counters;
  for (const [name, count] of Object.entries(limited)) figures.set(`limited/${name}`, count);
  figures.set('limited/topic-levels', limited['topic-levels'] + topicTooDeep);
  figures.set('limited/topic-length', limited['topic-length'] + topicTooLong);
  figures.set('limited/retained', retainedFull);
  figures.set('limited/session-queue', mqtt.sessions.totals.dropped);
}

/** Of all doors together. */
function addDoor(figures: Map<string, number>, { counters, arriving }: Door): void {
  const add = (name: string, value: number): void => {
    figures.set(name, (figures.get(name) ?? 0) + value);
  };
  add('mqtt/handshakes', arriving);
  add('mqtt-turned-away/connections', counters.aboveMaximum);
  add('mqtt-turned-away/handshakes', counters.aboveArriving);
  add('mqtt-turned-away/address-connections', counters.aboveNetwork);
  add('mqtt-turned-away/address-handshakes', counters.aboveNetworkArriving);
  add('mqtt-turned-away/address-rate', counters.aboveRate);
  add('mqtt-turned-away/slow', counters.tooSlow);
  add('mqtt-turned-away/tls', counters.tlsFailed);
  add('mqtt-turned-away/upgrade', counters.upgradeRefused);
}
