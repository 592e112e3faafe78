/**
 * The leader's side of the outbox: what leaves one queue for another. The machine opened an intent
 * for each such message, and keeps it until this has seen to it that the message is in its target,
 * or has given it up.
 *
 *   in this shard      `transfer` appends and closes in one
 *   in another shard   `route-intent` fixes the target and gives it a number; the other shard takes
 *                      the message under that number; `end-route` closes, or says that it did not
 *   a name that is     found out, or declared (`outbox-names.ts`)
 *   not known here
 *
 * Intents are worked off in their order, a bounded number and a bounded size at a time, and what
 * goes to one shard is sent in it. One that cannot be done now (its target is full or not reached,
 * the disk is inside its reserve, its queue is not found or cannot be declared) waits by itself,
 * 1 s at first and 60 s at most, and holds up no other. A message that cannot be read, or that goes
 * in circles, is skipped with an alarm, so that nothing stops behind it. Nothing here is state:
 * after a crash the open intents are there with their routes, and what was done is found done, so
 * none is done twice and none is forgotten.
 */

import type {
  EndRouteCommand,
  RouteIntentCommand,
  SkipIntentCommand,
  SkipReason,
} from '../machine/command.ts';
import type { Intent, RareEffect } from '../machine/effect.ts';
import { type QueueId, SHARDS_MAX, shardOf } from '../machine/ids.ts';
import { beginTake, beginTransfer } from './codec.ts';
import { DLQ_QUEUE_PROPERTY, property } from './departure.ts';
import type { Arrived, OtherShards } from './other-shards.ts';
import { type Flight, type Goal, Lane, type Question } from './outbox-flights.ts';
import { Letters, type LettersOptions } from './outbox-letters.ts';
import { type NameAnswer, Names, type NamesOptions } from './outbox-names.ts';
import type { StoredMessageView } from './stored-message.ts';
import { WakeHeap } from './wake-heap.ts';

export interface OutboxOptions extends LettersOptions, NamesOptions {
  /** The number of this shard. */
  readonly shard: number;
  /** Undefined: there are none. */
  readonly others: OtherShards | undefined;
  readonly machine: LettersOptions['machine'] &
    NamesOptions['machine'] & {
      openIntents(after: number, max: number): Intent[];
      lowestRoute(shard: number): number;
    };
  readonly proposals: {
    /** False: nothing is taken any more. */
    transfer(bytes: Uint8Array): boolean;
    plain(command: SkipIntentCommand | RouteIntentCommand | EndRouteCommand, node: string): boolean;
  };
  /** For people: it is given up, and the message with it, or put off; and why. */
  told(intent: Intent, what: 'unreadable' | 'given-up' | 'put-off', detail: string): void;
  /** The disk is inside its reserve: nothing that takes space is proposed. */
  readonly inReserve: () => boolean;
  /** There is something to do: call `drive` soon. */
  readonly wake: () => void;
  readonly failed: (error: unknown) => void;
}

export interface OutboxCounters {
  transferred: number;
  /** Of these, dead letters. */
  deadLettered: number;
  /** Times that a transfer could not be done, and was put off. */
  refused: number;
  skipped: number;
}

/** Under way within the shard, or asking for names: read or proposed, and not applied. */
const FLIGHTS_MAX = 64;
const FLIGHT_BYTES_MAX = 8 << 20;
/** Under way to one other shard. */
const AWAY_FLIGHTS_MAX = 64;
const AWAY_BYTES_MAX = 2 << 20;
/** Where one is put off, many are, all of them for the same reason. */
const TELL_EVERY_MS = 10_000;
const BACKOFF_MIN_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;
const DOUBLINGS_MAX = 6;

type Route = NonNullable<Intent['route']>;

const NO_QUEUE = 'no queue is left that could take it';

export class OutboxDriver {
  readonly counters: OutboxCounters = { transferred: 0, deadLettered: 0, refused: 0, skipped: 0 };
  readonly #options: OutboxOptions;
  readonly #letters: Letters;
  readonly #names: Names;
  readonly #flights = new Map<number, Flight>();
  readonly #waiting = new WakeHeap<Flight>();
  readonly #here = new Lane(FLIGHTS_MAX, FLIGHT_BYTES_MAX);
  readonly #asking = new Lane(FLIGHTS_MAX, FLIGHT_BYTES_MAX);
  /** By shard. */
  readonly #away = new Map<number, Lane>();
  /** Who waits for its route to be applied. */
  readonly #routing = new Map<number, (isRouted: boolean) => void>();
  /** Everything up to this intent was taken up. */
  #taken = 0;
  #more = true;
  #tellsAt = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#letters = new Letters(options);
    this.#names = new Names(options, (flight, answer) => this.#named(flight, answer));
  }

  /** When `drive` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    return this.#here.room > 0 ? this.#waiting.next : Number.POSITIVE_INFINITY;
  }

  /** Takes up what is due and what is new, as far as there is room. */
  drive(): void {
    const { machine, now } = this.#options;
    const here = this.#here;
    const time = now();
    for (const lane of [here, this.#asking, ...this.#away.values()]) {
      for (let next = lane.next(); next !== undefined; next = lane.next()) this.#start(next, lane);
    }
    while (here.room > 0) {
      const due = this.#waiting.due(time);
      if (due === undefined) break;
      this.#start(due, here);
    }
    while (this.#more && here.room > 0) {
      const max = here.room;
      const intents = machine.openIntents(this.#taken, max);
      this.#more = intents.length === max;
      for (const intent of intents) {
        this.#taken = intent.number;
        const flight: Flight = {
          intent,
          goal: undefined,
          tries: intent.refusals,
          wakeAt: Number.POSITIVE_INFINITY,
          lane: undefined,
          place: 0,
          name: undefined,
          bytes: 0,
        };
        this.#flights.set(intent.number, flight);
        this.#start(flight, here);
      }
    }
  }

  /** The queue of the message that an intent on its way moves. */
  sourceOf(intent: number): QueueId | undefined {
    return this.#flights.get(intent)?.intent.queueId;
  }

  /** What apply did. */
  rare(effect: RareEffect): void {
    switch (effect.kind) {
      case 'intent-opened':
        this.#more = true;
        return;
      case 'intent-closed': {
        const flight = this.#flights.get(effect.intent);
        if (flight === undefined) return;
        this.#flights.delete(effect.intent);
        this.#names.over(flight);
        this.#count(flight.intent, effect.how);
        this.#land(flight);
        return;
      }
      case 'intent-routed': {
        const flight = this.#flights.get(effect.intent.number);
        if (flight === undefined) return;
        flight.intent = effect.intent;
        this.#routed(effect.intent.number, true);
        return;
      }
      case 'route-refused':
        this.#routed(effect.intent, false);
        return;
      case 'route-ended': {
        const flight = this.#flights.get(effect.intent);
        if (flight === undefined) return;
        flight.intent = { ...flight.intent, route: undefined };
        this.#putOff(flight);
        return;
      }
      case 'transfer-refused': {
        const flight = this.#flights.get(effect.intent);
        if (flight !== undefined) this.#putOff(flight);
        return;
      }
      default:
    }
  }

  #count(intent: Intent, how: 'transferred' | SkipReason): void {
    if (how !== 'transferred') this.counters.skipped++;
    else {
      this.counters.transferred++;
      const isLetter = intent.reason === 'rejected' || intent.reason === 'delivery-limit';
      if (isLetter) this.counters.deadLettered++;
    }
  }

  // --- Lanes.

  #start(flight: Flight, lane: Lane): void {
    lane.enter(flight);
    this.#work(flight).catch(this.#options.failed);
  }

  /** Its place is free for others. */
  #land(flight: Flight): void {
    flight.lane?.leave(flight);
    this.#options.wake();
  }

  #putOff(flight: Flight): void {
    this.counters.refused++;
    const wait = BACKOFF_MIN_MS * 2 ** Math.min(flight.tries, DOUBLINGS_MAX);
    flight.tries++;
    // What was found out may be another by then.
    flight.goal = undefined;
    this.#names.over(flight);
    this.#waiting.set(flight, this.#options.now() + Math.min(wait, BACKOFF_MAX_MS));
    this.#land(flight);
  }

  #laneOf(goal: Goal): Lane {
    if (this.#options.others === undefined || goal.kind === 'here') return this.#here;
    if (goal.kind === 'ask') return this.#asking;
    const shard = shardOf(goal.queueId);
    let lane = this.#away.get(shard);
    if (lane === undefined) {
      lane = new Lane(AWAY_FLIGHTS_MAX, AWAY_BYTES_MAX);
      this.#away.set(shard, lane);
    }
    return lane;
  }

  /** It goes on in the lane of its goal: at once if it is there, or when its turn comes. */
  #goOn(flight: Flight, goal: Goal): void {
    flight.goal = goal;
    if (goal.kind === 'ask') this.#names.begin(flight, goal.name);
    const lane = this.#laneOf(goal);
    if (lane === flight.lane) {
      this.#work(flight).catch(this.#options.failed);
      return;
    }
    this.#land(flight);
    lane.wait(flight);
  }

  // --- A flight.

  async #work(flight: Flight): Promise<void> {
    const { intent } = flight;
    const { route } = intent;
    if (route !== undefined) flight.goal = { kind: 'there', queueId: route.queueId };
    let view: StoredMessageView | undefined;
    if (flight.goal === undefined) {
      view = await this.#read(flight);
      if (view === undefined) return;
      flight.goal = this.#goalOf(intent, view);
    }
    const { goal } = flight;
    if (this.#laneOf(goal) !== flight.lane) {
      flight.lane?.ready(flight, () => this.#goOn(flight, goal));
    } else if (goal.kind === 'there') await this.#sendAway(flight, goal.queueId);
    else if (this.#options.inReserve()) flight.lane?.ready(flight, () => this.#putOff(flight));
    else if (goal.kind === 'ask') await this.#names.ask(flight, goal);
    else await this.#send(flight, goal, view);
  }

  #goalOf({ target, queueId }: Intent, view: StoredMessageView): Goal {
    switch (target.kind) {
      case 'queues': {
        const there = target.queueIds.find((each) => this.#isElsewhere(each));
        if (there !== undefined) return { kind: 'there', queueId: there };
        return { kind: 'here', queueIds: target.queueIds };
      }
      case 'source': {
        const name = property(view, DLQ_QUEUE_PROPERTY);
        // Back to where it is, rather than nowhere.
        if (name === undefined) return { kind: 'here', queueIds: [queueId] };
        return this.#goalBy({ kind: 'ask', name, declares: false });
      }
      case 'name':
        return this.#goalBy({ kind: 'ask', name: target.name, declares: true });
    }
  }

  #goalBy(by: Question): Goal {
    const here = this.#options.machine.queueNamed(by.name);
    return here === undefined ? by : { kind: 'here', queueIds: [here.queueId], by };
  }

  /** A publish names queues of its own shard alone, so only a move goes elsewhere by an id. */
  #isElsewhere(queueId: QueueId): boolean {
    const shard = shardOf(queueId);
    return (
      this.#options.others !== undefined && shard < SHARDS_MAX && shard !== this.#options.shard
    );
  }

  /** Undefined: it cannot be read, and is skipped. */
  async #read(flight: Flight): Promise<StoredMessageView | undefined> {
    const view = await this.#letters.read(flight.intent);
    if (typeof view !== 'string') return view;
    this.#skip(flight, 'unreadable', view);
    return undefined;
  }

  #skip(flight: Flight, reason: SkipReason, detail: string): void {
    flight.lane?.ready(flight, () => this.#giveUp(flight.intent, reason, detail));
  }

  #giveUp(intent: Intent, reason: SkipReason, detail: string): void {
    this.#options.told(intent, reason === 'unreadable' ? reason : 'given-up', detail);
    this.#propose({ kind: 'skip-intent', intent: intent.number, reason });
  }

  #propose(command: SkipIntentCommand | RouteIntentCommand | EndRouteCommand): void {
    if (this.#options.proposals.plain(command, '')) this.#options.wake();
  }

  // --- Within the shard.

  async #send(
    flight: Flight,
    { queueIds, by }: Extract<Goal, { readonly kind: 'here' }>,
    read: StoredMessageView | undefined,
  ): Promise<void> {
    const { machine, proposals, wake } = this.#options;
    const { intent } = flight;
    const view = read ?? (await this.#read(flight));
    if (view === undefined) return;
    const targets = queueIds.filter((each) => machine.definition(each) !== undefined);
    const [first] = targets;
    if (first === undefined) {
      this.#skip(flight, 'no-target', NO_QUEUE);
      return;
    }
    const letter = await this.#letters.write(intent, view, {
      target: machine.definition(first)?.name ?? `#${first}`,
      begin: (writer, options) =>
        beginTransfer(writer, { intent: intent.number, targets, options }),
    });
    if (typeof letter === 'string') {
      this.#skipUnwritten(flight, letter);
      return;
    }
    flight.lane?.load(flight, letter.length);
    flight.lane?.ready(flight, () => {
      if (by !== undefined && this.#names.wouldOvertake(flight, by.name)) {
        this.#goOn(flight, by);
      } else if (proposals.transfer(letter)) wake();
    });
  }

  #skipUnwritten(flight: Flight, reason: 'hop-limit' | 'no-target'): void {
    const detail =
      reason === 'hop-limit'
        ? 'it went through too many dead-letter queues'
        : 'its properties are too long for a message';
    this.#skip(flight, reason, detail);
  }

  // --- Names.

  #named(flight: Flight, answer: NameAnswer): void {
    const { number, queueId } = flight.intent;
    if (this.#flights.get(number) !== flight) return;
    if (answer.kind === 'nowhere') this.#goOn(flight, { kind: 'here', queueIds: [queueId] });
    else if (answer.kind !== 'not-now') this.#goOn(flight, answer);
    else if (answer.detail === undefined) this.#putOff(flight);
    else this.#putOffTold(flight, answer.detail);
  }

  #putOffTold(flight: Flight, detail: string): void {
    const now = this.#options.now();
    if (now >= this.#tellsAt) {
      this.#tellsAt = now + TELL_EVERY_MS;
      this.#options.told(flight.intent, 'put-off', detail);
    }
    this.#putOff(flight);
  }

  // --- To another shard.

  async #sendAway(flight: Flight, queueId: QueueId): Promise<void> {
    const { others, machine, shard: from } = this.#options;
    if (others === undefined) {
      this.#putOffTold(flight, 'there is no way to other shards from here');
      return;
    }
    if (!(await this.#route(flight, queueId))) {
      this.#putOff(flight);
      return;
    }
    const { intent } = flight;
    const { route } = intent;
    const view = await this.#read(flight);
    if (view === undefined || route === undefined) return;
    const shard = shardOf(queueId);
    const target = (await others.nameOf(queueId)) ?? `#${queueId}`;
    if (typeof target !== 'string') {
      this.#putOffTold(flight, target.detail);
      return;
    }
    const of = { from, number: route.number, opened: intent.stamp, targets: [queueId] };
    const letter = await this.#letters.write(intent, view, {
      target,
      begin: (writer, options) =>
        beginTake(writer, { ...of, lowestOpen: machine.lowestRoute(shard), options }),
    });
    if (typeof letter === 'string') {
      this.#skipUnwritten(flight, letter);
      return;
    }
    flight.lane?.load(flight, letter.length);
    flight.lane?.ready(flight, () => {
      const answered = others.take(shard, letter).then((answer) => {
        if (answer.kind !== 'not-now') this.#endRoute(intent, route, answer);
        else this.#putOffTold(flight, `shard ${shard} does not take it: ${answer.detail}`);
      });
      answered.catch(this.#options.failed);
    });
  }

  #endRoute(intent: Intent, { number }: Route, { kind: how, next }: Arrived): void {
    if (how === 'gone' && intent.target.kind === 'queues') {
      this.#giveUp(intent, 'no-target', NO_QUEUE);
    } else {
      this.#propose({ kind: 'end-route', intent: intent.number, number, how, next });
    }
  }

  /** False: too many are on their way there. */
  #route({ intent }: Flight, queueId: QueueId): Promise<boolean> {
    if (intent.route !== undefined) return Promise.resolve(true);
    const routed = new Promise<boolean>((resolve) => {
      this.#routing.set(intent.number, resolve);
    });
    this.#propose({ kind: 'route-intent', intent: intent.number, queueId });
    return routed;
  }

  #routed(intent: number, isRouted: boolean): void {
    this.#routing.get(intent)?.(isRouted);
    this.#routing.delete(intent);
  }
}
