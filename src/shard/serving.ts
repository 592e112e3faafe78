/**
 * What a shard does while it leads: takes proposals, serves deliveries, fires timers, works off the
 * outbox and answers operators. Made when the term has begun and everything before it is applied;
 * before that, and on nodes that follow, nobody is served.
 *
 * Everything in here is soft state of the leader. What apply did comes in through `confirmed` and
 * its like, in its order and in the turn in which it was done; `work` does the rest in slices.
 */

import { AdminError } from '../broker/ports.ts';
import type { PlacedDefinition } from '../machine/definitions.ts';
import type { Effects, Intent, RareEffect } from '../machine/effect.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { Admin } from './admin.ts';
import { ArrivalDesk } from './arrival-desk.ts';
import type { PlainCommand } from './codec.ts';
import { capturesOrdinary, declarationRefusal, Declarations, stands } from './declarations.ts';
import type { DeclareOutcome } from './declarations.ts';
import { Dispatcher } from './dispatcher.ts';
import type { DispatcherOptions } from './dispatcher.ts';
import { NamesSweep } from './names-sweep.ts';
import { OutboxDriver, type OutboxOptions } from './outbox.ts';
import { Places } from './places.ts';
import type { BatchPort } from './port.ts';
import { Proposals } from './proposals.ts';
import type { ConfiguredGroup } from './shard-options.ts';
import type { MemberRequest } from './member-requests.ts';
import { encodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';
import type { RecordLoader } from './record-loader.ts';
import {
  encodeDeclared,
  isMemberRequest,
  isPlaceRequest,
  isRetainedRequest,
  isSessionRequest,
} from './requests.ts';
import type { AnsweredRequest, ShardRequest } from './requests.ts';
import { QueueExpiry } from './queue-expiry.ts';
import { infoOf } from './queue-info.ts';
import { Grace } from './grace.ts';
import { LeaseHolders } from './lease-holders.ts';
import { LeaderSessions } from './leader-sessions.ts';
import type { SenderStream } from './server.ts';
import { Sessions, type SessionsOptions } from './sessions.ts';
import type { ServingOptions } from './serving-options.ts';
import { TimerDriver } from './timer-driver.ts';
import { arrivedData } from './transfer-requests.ts';

/** What the log holds back is proposed again after so long. */
const HELD_MS = 5;

export class Serving {
  readonly #options: ServingOptions;
  readonly #proposals: Proposals;
  readonly #grace: Grace;
  readonly #sessions: Sessions;
  readonly #dispatcher: Dispatcher;
  readonly #timers: TimerDriver;
  readonly #outbox: OutboxDriver;
  readonly #arrivals: ArrivalDesk;
  readonly #admin: Admin;
  readonly places: Places;
  readonly #expiry: QueueExpiry | undefined;
  readonly #sweep: NamesSweep | undefined;
  readonly #declarations = new Declarations();
  readonly #mqttSessions: LeaderSessions;
  #isStarted = false;

  constructor(options: ServingOptions) {
    this.#options = options;
    const { log, limits, machine, payloads, alarms, loader, logger, failed, wake } = options;
    const now = (): number => options.stamps.now();
    this.#proposals = new Proposals({
      log,
      term: options.term,
      entryBytesMax: limits.entryBytesMax,
      uncommittedBytesMax: limits.uncommittedBytesMax,
      inReserve: options.inReserve,
      // What is full is the memory for queues then, and not a disk.
      fullReason: options.isVolatile ? 'queue-full' : 'disk-full',
      holdsBack: options.holdsBack,
      now: () => options.stamps.now(),
      failed,
    });
    this.#grace = new Grace(options.nodes);
    this.#sessions = this.#newSessions();
    this.#mqttSessions = this.#newMqttSessions();
    this.#dispatcher = new Dispatcher(this.#dispatcherOptions());
    this.#timers = new TimerDriver({
      nextTimer: () => machine.nextTimer(),
      applied: () => options.applier.index,
      propose: (command) => this.#propose(command),
      now,
    });
    this.#arrivals = new ArrivalDesk({ ...options, proposals: this.#proposals });
    this.#outbox = new OutboxDriver(this.#outboxOptions());
    if (options.isVolatile) {
      this.#expiry = new QueueExpiry({
        queues: () => machine.queues(),
        consumersOf: (queueId) => this.#dispatcher.consumersOf(queueId),
        propose: (command) => void this.#propose(command),
        now,
      });
    }
    this.places = new Places({
      machine,
      propose: (command) => {
        this.#plain(command);
        this.#proposals.submit();
      },
      readIndex: (done) => log.readIndex(done),
      whenLoaded: (missing, action) => this.#whenLoaded(missing, action),
      closed: options.closed,
      applied: (index) => options.applier.whenApplied(index),
    });
    if (machine.shard === 0 && options.others !== undefined) {
      this.#sweep = new NamesSweep({
        names: machine.placedNames,
        others: options.others,
        unplace: (name, version) => this.places.unplace(name, version),
        now,
        wake,
        logger,
      });
    }
    this.#admin = new Admin({
      machine,
      loader,
      payloads,
      alarms,
      dispatcher: this.#dispatcher,
      others: options.others,
      logger,
      propose: (command) => this.#propose(command),
      applied: (index) => options.applier.whenApplied(index),
      fence: (version) => this.places.fence(version),
    });
  }

  get dispatcher(): Dispatcher {
    return this.#dispatcher;
  }

  get outbox(): OutboxDriver {
    return this.#outbox;
  }

  get timers(): TimerDriver {
    return this.#timers;
  }

  get proposals(): Proposals {
    return this.#proposals;
  }

  get sessions(): Sessions {
    return this.#sessions;
  }

  /**
   * The queues that were given with the options, and their groups where they are missing; what is
   * in another shard is left out. What stands there as it is written is not said again.
   */
  async prepare(): Promise<void> {
    const { machine, groups, logger } = this.#options;
    const queues = this.#options.queues.filter(({ name }) => {
      return (machine.placeOf(name)?.shard ?? 0) === 0;
    });
    const wanted = queues.filter((queue) => !stands(queue, machine));
    const { outcomes, lines } = await this.declare(wanted);
    for (const line of lines) logger.info(line, 'queue has new limits');
    const created = outcomes.filter((outcome) => outcome === 'created').length;
    if (created > 0) logger.info({ created }, 'queues created');
    await this.#createGroups(groups);
  }

  /** From now on the port is served. */
  start(): void {
    const { port, limits, monotonicMs } = this.#options;
    this.#isStarted = true;
    this.#grace.begin(monotonicMs() + limits.reattachGraceMs);
    if (port !== undefined) this.#sessions.begin(port, false);
  }

  /** One session of a route; false: not yet. */
  serve(port: BatchPort): boolean {
    if (this.#isStarted) this.#sessions.begin(port, true);
    return this.#isStarted;
  }

  /** Declares queues through the log, or gives them new limits. */
  declare(queues: readonly PlacedDefinition[]): Promise<DeclareOutcome> {
    const declared = this.#declarations.declare(queues, this.#options.machine, (command) => {
      this.#plain(command);
    });
    this.#proposals.submit();
    return declared;
  }

  /** Until `deadline`; true: call again. Nothing is delivered once `delivers` is false. */
  work(deadline: number, delivers: boolean): boolean {
    let more = false;
    // What went out is written down by a stop: nothing more may go out behind it.
    if (delivers) {
      more = this.#dispatcher.serve(deadline, this.#options.monotonicMs);
      this.#timers.drive();
      this.#outbox.drive();
      this.#expiry?.look();
      this.#sweep?.look();
      this.#mqttSessions.look();
    }
    this.#proposals.submit();
    this.#sessions.post();
    return more;
  }

  /** Stamp of when `work` is wanted although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    const now = this.#options.monotonicMs();
    const awaited = Math.min(this.#grace.nextWake, this.#sessions.nextWake);
    return Math.min(
      this.#options.stamps.now() + Math.max(0, awaited - now),
      this.#proposals.isHeld ? this.#options.stamps.now() + HELD_MS : Number.POSITIVE_INFINITY,
      this.#dispatcher.nextWake,
      this.#timers.nextWake,
      this.#outbox.nextWake,
      this.#expiry?.nextWake ?? Number.POSITIVE_INFINITY,
      this.#sweep?.nextWake ?? Number.POSITIVE_INFINITY,
      this.#mqttSessions.nextWake,
    );
  }

  // --- What apply did.

  confirmed(effects: Effects, at: number): void {
    this.#sessions.confirmed(effects, at);
  }

  enqueued(queueId: QueueId, offset: Offset, priority: number): void {
    this.#dispatcher.enqueued(queueId, offset, priority);
  }

  /** The queue of the message that an intent on its way moves. */
  sourceOf(intent: number): QueueId | undefined {
    return this.#outbox.sourceOf(intent);
  }

  rare(effect: RareEffect): void {
    this.#dispatcher.rare(effect);
    this.#outbox.rare(effect);
    this.#arrivals.rare(effect);
    this.#admin.rare(effect);
    this.places.rare(effect);
    this.#mqttSessions.rare(effect);
    switch (effect.kind) {
      case 'session-redefined':
        this.#sessions.queueChanged(effect.queueId);
        return;
      case 'queue-deleted':
      case 'queue-updated':
      case 'queue-declared':
        this.#sessions.queueChanged(effect.queueId);
        if (effect.kind !== 'queue-deleted') this.#declarations.answered(effect);
        return;
      case 'queue-refused':
        this.#declarations.answered(effect);
        return;
      case 'stream-opened':
        this.#proposals.opened(effect.node, effect.boot);
        this.#sessions.streamOpened(effect.node, effect.boot);
        return;
      default:
    }
  }

  // --- End.

  /** Nothing more is taken; what is under way goes on. */
  close(): void {
    this.#proposals.submit();
    this.#proposals.close();
  }

  fail(error: Error): void {
    this.#proposals.close();
    this.#dispatcher.cancelEverything();
    this.#sessions.fail(error.message);
    this.#declarations.failed(error);
    this.#arrivals.fail(error.message);
    this.places.fail(error);
    this.#mqttSessions.fail(error);
  }

  // --- Parts.

  #newSessions(): Sessions {
    return new Sessions({
      server: this.#serverOptions(),
      dispatcher: () => this.#dispatcher,
      grace: this.#grace,
      leases: new LeaseHolders(this.#options.nodes, this.#options.monotonicMs),
      graceMs: this.#options.limits.reattachGraceMs,
      monotonicMs: this.#options.monotonicMs,
    });
  }

  #serverOptions(): SessionsOptions['server'] {
    const { machine, limits, term, logger, wake, closed, failed, applier } = this.#options;
    return {
      applied: () => applier.index,
      streamOf: (node, found) => {
        this.#whenLoaded(
          () => machine.streamKeys(node),
          () => found(machine.stream(node) as SenderStream),
        ).catch(failed);
      },
      proposals: this.#proposals,
      logger,
      outstandingBytesMax: limits.outstandingBytesMax,
      term,
      queueIds: () => machine.queueIds(),
      queue: (queueId) => {
        const definition = machine.definition(queueId);
        return definition === undefined ? undefined : infoOf(queueId, definition);
      },
      request: (request, isGone) => this.#request(request, isGone),
      wake,
      closed,
      failed,
    };
  }

  #newMqttSessions(): LeaderSessions {
    const { applier, stamps, wake } = this.#options;
    return new LeaderSessions({
      ...this.#options,
      propose: (command) => {
        this.#plain(command);
        wake();
      },
      proposalsApplied: async () => {
        const index = this.#proposals.submit();
        if (index !== undefined) await applier.whenApplied(index);
      },
      whenLoaded: (missing, action) => this.#whenLoaded(missing, action),
      queuesTold: () => this.#sessions.queuesTold(),
      consumersOf: (queueId) => this.#dispatcher.consumersOf(queueId),
      fence: (version) => this.places.fence(version),
      now: () => stamps.now(),
    });
  }

  #outboxOptions(): OutboxOptions {
    const { number, others, machine, payloads, inReserve, wake, failed, stamps } = this.#options;
    return {
      shard: number,
      others,
      machine,
      payloads,
      proposals: this.#proposals,
      declare: async (queue) => void (await this.declare([queue])),
      groupName: (queueId, groupId) => this.#groupName(queueId, groupId),
      told: (intent, what, detail) => this.#outboxTold(intent, what, detail),
      now: () => stamps.now(),
      inReserve,
      wake,
      failed,
    };
  }

  #dispatcherOptions(): DispatcherOptions {
    const { machine, term, marks, payloads, alarms, wake, failed, stamps } = this.#options;
    const sessions = this.#mqttSessions;
    return {
      term,
      marks,
      payloads,
      proposals: this.#proposals,
      output: this.#sessions,
      holdsBack: () => this.#grace.holdsBack(this.#options.monotonicMs()),
      alarms,
      now: () => stamps.now(),
      definition: (queueId) => machine.definition(queueId),
      goneBelow: (queueId) => machine.goneBelow(queueId),
      groupNamed: (queueId, name, found) =>
        this.#whenLoaded(
          () => [...machine.queueKeys(queueId), ...sessions.missing(queueId)],
          () => found(machine.groupNamed(queueId, name), sessions.ownerOf(queueId)),
        ),
      ownerIsBack: sessions.ownerIsBack,
      ownerIsGone: sessions.ownerIsGone,
      start: ({ queueId, groupId }, began) =>
        this.#whenLoaded(
          () => machine.dispatchKeys(queueId, groupId),
          () => began(machine.dispatchStart(queueId, groupId)),
        ),
      wake,
      failed,
    };
  }

  /**
   * Calls `action` once between two entries, in a turn in which all of it is there: no effect is
   * made and not handed on there, and what is missing again by then is loaded.
   */
  async #whenLoaded(missing: () => readonly string[], action: () => void): Promise<void> {
    const { loader, atBoundary } = this.#options;
    for (let done = false; !done;) {
      await loader.until(missing as Parameters<RecordLoader['until']>[0]);
      await atBoundary(() => {
        if (missing().length > 0) return;
        action();
        done = true;
      });
    }
  }

  async #groupName(queueId: QueueId, groupId: GroupId): Promise<string | undefined> {
    const { loader, machine } = this.#options;
    await loader.until(() => machine.queueKeys(queueId));
    return machine.groups(queueId)?.find((group) => group.groupId === groupId)?.name;
  }

  #outboxTold(intent: Intent, what: string, detail: string): void {
    const { machine, alarms, logger } = this.#options;
    const { queueId, groupId, offset, reason } = intent;
    if (what === 'unreadable') {
      alarms.damaged({ queueId, groupId, name: '' }, offset, detail);
      return;
    }
    const queue = machine.definition(queueId)?.name;
    const fields = { queue, queueId, offset, reason, detail };
    if (what === 'put-off') logger.warn(fields, 'a message cannot leave its queue yet');
    else logger.error(fields, 'a message that was to leave its queue is given up');
  }

  // --- Proposals that somebody waits for.

  async #createGroups(groups: readonly ConfiguredGroup[]): Promise<void> {
    const { machine, applier } = this.#options;
    for (const { queue, name, filter, start } of groups) {
      const queueId = machine.queueNamed(queue)?.queueId;
      if (queueId === undefined) continue;
      this.#plain({ kind: 'create-group', queueId, name, groupKind: 'explicit', filter, start });
    }
    const index = this.#proposals.submit();
    if (index !== undefined) await applier.whenApplied(index);
  }

  /** The index of its entry; undefined: nothing is taken, now or any more. */
  #propose(command: PlainCommand): LogIndex | undefined {
    if (this.#proposals.isHeld || !this.#proposals.plain(command, '')) return undefined;
    return this.#proposals.submit();
  }

  #plain(command: PlainCommand): void {
    if (!this.#proposals.plain(command, ''))
      throw new AdminError('unavailable', 'the shard has stopped');
  }

  async #request(request: ShardRequest, isGone: () => boolean): Promise<Uint8Array> {
    switch (request.kind) {
      case 'stats':
        return this.#options.stats();
      case 'declare':
        return encodeDeclared(await this.#declared(request.queues));
      case 'stop':
        await this.#options.stop();
        return encodeRecord(null);
      case 'take-transfer':
        return encodeRecord(arrivedData(await this.#arrivals.take(request.command)));
      default:
        return encodeRecord(await this.#answerOf(request, isGone));
    }
  }

  #answerOf(request: AnsweredRequest, isGone: () => boolean): PlainData | Promise<PlainData> {
    if (isMemberRequest(request)) return this.#ofMembers(request);
    if (isSessionRequest(request)) return this.#mqttSessions.answer(request, isGone);
    if (isPlaceRequest(request)) return this.places.answer(request);
    if (isRetainedRequest(request)) return this.#options.retained.answer(request);
    return this.#admin.answer(request);
  }

  #ofMembers(request: MemberRequest): PlainData {
    const { ofMembers } = this.#options;
    if (ofMembers !== undefined) return ofMembers(request);
    throw new AdminError('invalid', 'a shard in memory has no members');
  }

  async #declared(queues: readonly PlacedDefinition[]): Promise<DeclareOutcome['outcomes']> {
    const { outcomes } = await this.declare(queues).catch((error: unknown) => {
      throw declarationRefusal(error);
    });
    if (queues.some(capturesOrdinary)) await this.#sessions.queuesTold();
    return outcomes;
  }
}
