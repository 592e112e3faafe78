/**
 * Runs a publisher and a subscriber through generated steps against the server, beside their
 * models; at the end lets everything through, and looks at what became of each message.
 */

import { ok, strictEqual } from 'node:assert/strict';
import { MemoryBroker } from '../../src/broker/broker.ts';
import { MqttListener } from '../../src/protocol/mqtt/listener.ts';
import { withRetained } from '../support/fake-retained.ts';
import { MemoryDoor } from '../support/memory-door.ts';
import { TestClock } from '../support/mqtt-server.ts';
import { fc } from '../support/properties.ts';
import { type Message, Publisher, Subscriber } from './session-clients.ts';
import type { Line } from './session-line.ts';
import { PublisherModel, SubscriberModel } from './session-model.ts';

type Who = 'publisher' | 'subscriber';

/** `sent`: up to the server at once. `quick`: the next step is in the same turn. */
type Step =
  | {
      readonly step: 'publish';
      readonly topic: string;
      readonly qos: 0 | 1 | 2;
      readonly bytes: number;
      readonly sent: boolean;
      readonly quick: boolean;
    }
  | {
      readonly step: 'up' | 'down';
      readonly who: Who;
      readonly bytes: number;
      readonly quick: boolean;
    }
  | { readonly step: 'through'; readonly who: Who }
  | {
      readonly step: 'answer';
      readonly count: number;
      readonly refuse: boolean;
      readonly sent: boolean;
      readonly quick: boolean;
    }
  | { readonly step: 'cut' | 'connect' | 'leave'; readonly who: Who }
  | { readonly step: 'wait'; readonly ms: number };

interface PairSettings {
  readonly publisherVersion: 4 | 5;
  readonly subscriberVersion: 4 | 5;
  readonly granted: 0 | 1 | 2;
  /**
   * The subscriber is the one member of a share, which brings no retained messages and keeps the
   * order of one QoS alone: this one is that of all that is not 0. Undefined: it is in no share.
   */
  readonly shared: 1 | 2 | undefined;
  /** What the subscriber says in CONNECT. */
  readonly receiveMaximum: number;
  readonly aliasMaximum: number;
  /** What the server allows. */
  readonly maxInflight: number;
  readonly serverReceiveMaximum: number;
  /** QoS of what is retained when the subscriber comes. */
  readonly retained: readonly (0 | 1 | 2)[];
}

const qos = fc.constantFrom(0, 1, 1, 2, 2) as fc.Arbitrary<0 | 1 | 2>;
const version = fc.constantFrom(4, 5) as fc.Arbitrary<4 | 5>;
const who = fc.constantFrom<Who>('publisher', 'subscriber');
/** Enough of the large ones fill the socket of the subscriber. */
const bytes = fc.constantFrom(0, 0, 0, 30_000);
const most = fc.oneof(
  { weight: 3, arbitrary: fc.constant(1_000_000) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 60 }) },
);

const settings: fc.Arbitrary<PairSettings> = fc.record({
  publisherVersion: version,
  subscriberVersion: version,
  granted: fc.constantFrom(0, 1, 2, 2, 2) as fc.Arbitrary<0 | 1 | 2>,
  shared: fc.constantFrom(undefined, undefined, 1, 2) as fc.Arbitrary<1 | 2 | undefined>,
  receiveMaximum: fc.integer({ min: 1, max: 4 }),
  aliasMaximum: fc.constantFrom(0, 1, 2),
  maxInflight: fc.integer({ min: 1, max: 5 }),
  serverReceiveMaximum: fc.integer({ min: 1, max: 5 }),
  retained: fc.array(qos, { maxLength: 8 }),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      step: fc.constant('publish' as const),
      topic: fc.constantFrom('t/a', 't/b'),
      qos,
      bytes,
      sent: fc.boolean(),
      quick: fc.boolean(),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      step: fc.constantFrom('up' as const, 'down' as const),
      who,
      bytes: most,
      quick: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      step: fc.constant('answer' as const),
      count: fc.integer({ min: 1, max: 3 }),
      refuse: fc.constantFrom(false, false, false, true),
      sent: fc.boolean(),
      quick: fc.boolean(),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({ step: fc.constant('through' as const), who }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constantFrom('cut' as const, 'connect' as const, 'connect' as const, 'leave'),
      who,
    }) as fc.Arbitrary<Step>,
  },
  {
    weight: 1,
    arbitrary: fc.record({ step: fc.constant('wait' as const), ms: fc.nat({ max: 60_000 }) }),
  },
);

function steps(maxLength: number): fc.Arbitrary<Step[]> {
  return fc.array(step, { maxLength, size: 'max' });
}

export interface PairCheck {
  readonly runs: number;
  /** At most, for each run. */
  readonly steps: number;
  /** Deliveries before the steps, at QoS 1 or 2: 65,535 of them, and packet ids begin again. */
  readonly deliveriesBefore?: number;
}

/** Throws the smallest case that fails. */
export async function checkPairs(of: PairCheck): Promise<void> {
  await fc.assert(
    fc.asyncProperty(settings, steps(of.steps), async (pair, all) => {
      await new SessionPair(pair, of.deliveriesBefore ?? 0).run(all);
    }),
    { numRuns: of.runs },
  );
}

const ALL = Number.POSITIVE_INFINITY;
/** Rounds in which everything is let through; each message that waits needs some. */
const ROUNDS_MAX = 4000;

class SessionPair {
  readonly #door = new MemoryDoor();
  readonly #clock = new TestClock();
  readonly #broker: MemoryBroker;
  readonly #listener: MqttListener;
  readonly #settings: PairSettings;
  readonly #deliveriesBefore: number;
  readonly #publisher: Publisher;
  readonly #subscriber: Subscriber;
  readonly #published: PublisherModel;
  readonly #delivered: SubscriberModel;
  /** What the server logged or threw that it should not have. */
  readonly #faults: string[] = [];

  constructor(pair: PairSettings, deliveriesBefore: number) {
    this.#settings = pair;
    this.#deliveriesBefore = deliveriesBefore;
    const { publisherVersion, subscriberVersion, granted, receiveMaximum, aliasMaximum } = pair;
    this.#broker = new MemoryBroker(withRetained('mqtt'), this.#clock, {});
    const fault = (_: Record<string, unknown>, message: string): void => {
      this.#faults.push(message);
    };
    const log = { debug: () => {}, info: () => {}, warn: fault, error: fault };
    this.#listener = new MqttListener(this.#broker, log, {
      doors: [this.#door],
      mqtt: {
        maxInflight: pair.maxInflight,
        // A 3.1.1 client is not read above it: what is not read when it goes, nobody knows here.
        receiveMaximum: publisherVersion === 5 ? pair.serverReceiveMaximum : 1024,
      },
    });
    const knows = subscriberVersion === 5;
    this.#delivered = new SubscriberModel({
      version: subscriberVersion,
      granted,
      maxInflight: Math.min(pair.maxInflight, knows ? receiveMaximum : pair.maxInflight),
      aliasMaximum: knows ? aliasMaximum : 0,
    });
    this.#published = new PublisherModel((message) => this.#delivered.accepted(message));
    const door = this.#door;
    this.#publisher = new Publisher({
      door,
      clientId: 'publisher',
      version: publisherVersion,
      watch: this.#published,
    });
    this.#subscriber = new Subscriber({
      door,
      clientId: 'subscriber',
      version: subscriberVersion,
      properties: { receiveMaximum, topicAliasMaximum: aliasMaximum },
      watch: this.#delivered,
    });
  }

  async run(all: readonly Step[]): Promise<void> {
    await this.#broker.load();
    await this.#listener.start();
    try {
      await this.#begin();
      for (const each of all) {
        // A turn in which a connection begins or ends has nothing else: what the server was about
        // to write then would be known to nobody.
        if (!this.#isAmidst(each)) await this.#settle();
        if (each.step === 'through') await this.#letThrough([this.#line(each.who)]);
        else this.#take(each);
        if (!('quick' in each && each.quick)) await this.#settle();
      }
      await this.#finish();
    } finally {
      for (const line of this.#lines) line.cut();
      await this.#listener.stop();
      this.#broker.stop();
    }
  }

  get #lines(): readonly Line[] {
    return [this.#publisher.line, this.#subscriber.line];
  }

  async #begin(): Promise<void> {
    for (const line of this.#lines) line.connect();
    await this.#letThrough();
    const { granted, shared } = this.#settings;
    if (shared === undefined) await this.#retain();
    this.#subscriber.subscribe(shared === undefined ? 't/#' : '$share/g/t/#', granted);
    await this.#letThrough();
    for (const line of this.#lines) ok(line.isUp);
    if (granted === 0) return;
    while (this.#delivered.due.length < this.#deliveriesBefore) {
      // Until it may have no more under way.
      for (let each = 0; each < this.#settings.serverReceiveMaximum; each++) {
        this.#publisher.publish('t/a', shared ?? 1, 0);
      }
      await this.#letThrough();
      this.#subscriber.answer(ALL, false);
    }
  }

  async #retain(): Promise<void> {
    for (const [at, of] of this.#settings.retained.entries()) {
      this.#publisher.publish(`t/r/${at}`, of, 0, true);
      do await this.#letThrough();
      while (this.#publisher.unfinished.size > 0);
    }
  }

  #isAmidst(each: Step): boolean {
    const { step: kind } = each;
    if (kind === 'up' || kind === 'down') return this.#line(each.who).isUp;
    return kind === 'publish' || kind === 'answer' || kind === 'wait';
  }

  #take(each: Exclude<Step, { readonly step: 'through' }>): void {
    const { shared } = this.#settings;
    switch (each.step) {
      case 'publish':
        // At QoS 0 what does not fit is dropped: that is not what is looked at here.
        if (each.qos === 0) this.#publisher.publish(each.topic, 0, 0);
        else this.#publisher.publish(each.topic, shared ?? each.qos, each.bytes);
        if (each.sent && this.#publisher.line.isUp) this.#publisher.line.up(ALL);
        return;
      case 'answer':
        this.#subscriber.answer(each.count, each.refuse);
        if (each.sent && this.#subscriber.line.isUp) this.#subscriber.line.up(ALL);
        return;
      case 'wait':
        this.#clock.advance(each.ms);
        this.#listener.sweep();
        return;
      case 'up':
      case 'down':
        this.#line(each.who)[each.step](each.bytes);
        return;
      default:
        this.#line(each.who)[each.step]();
    }
  }

  #line(name: Who): Line {
    return name === 'publisher' ? this.#publisher.line : this.#subscriber.line;
  }

  async #settle(): Promise<void> {
    await this.#door.settled();
    for (const line of this.#lines) line.check();
    strictEqual(this.#faults.join(), '');
  }

  async #letThrough(lines = this.#lines): Promise<void> {
    for (const line of lines) {
      line.up(ALL);
      await this.#settle();
      line.down(ALL);
      await this.#settle();
    }
  }

  async #finish(): Promise<void> {
    for (const line of this.#lines) {
      if (!line.isConnected) line.connect();
    }
    let before = -1;
    for (let round = 0; before !== this.#door.activity; round++) {
      ok(round < ROUNDS_MAX, 'it does not come to rest');
      before = this.#door.activity;
      this.#subscriber.answer(ALL, false);
      await this.#letThrough();
    }
    strictEqual(this.#subscriber.held, 0);
    strictEqual(this.#publisher.unfinished.size, 0, 'the publisher waits for an answer');
    this.#published.finished();
    this.#delivered.finished();
    strictEqual(this.#listener.sessions.totals.bytes, 0, 'the server still holds messages');
    strictEqual(this.#listener.sessions.totals.dropped, 0, 'the server dropped messages');
    this.#judge(this.#subscriber.got);
  }

  /** What the application of the subscriber got, whatever was repeated on the way. */
  #judge(got: readonly Message[]): void {
    const { granted } = this.#settings;
    const counts = new Map<number, number>();
    const last = new Map<string, number>();
    for (const { number, topic, qos: sent } of got) {
      const count = (counts.get(number) ?? 0) + 1;
      counts.set(number, count);
      if (count > 1 || Math.min(sent, granted) === 0) continue;
      ok(number > (last.get(topic) ?? -1), `${number} on ${topic} is out of order`);
      last.set(topic, number);
    }
    for (const { number, qos: sent } of [...this.#delivered.due, ...this.#delivered.retained]) {
      const count = counts.get(number) ?? 0;
      ok(count >= 1, `message ${number} was lost`);
      const once = sent === 2 && granted === 2 && !this.#subscriber.refused.has(number);
      if (once) strictEqual(count, 1, `message ${number} came ${count} times at QoS 2`);
    }
  }
}
