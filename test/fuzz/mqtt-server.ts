/**
 * Fuzzing of the MQTT server as a whole: good packets broken in random ways, byte by byte or in
 * pieces, at a connection in any of several states, with a publisher and a subscriber beside it
 * that keep the rules and are held to their models.
 *
 * What must hold for any bytes: nothing throws; what the decoder calls an error ends the connection
 * with the decoder's own reason; the pair loses nothing; when the connections are gone and their
 * sessions over, nothing of them is left.
 */

import { ok, strictEqual } from 'node:assert/strict';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { ScramDecoys } from '../../src/access/scram-decoys.ts';
import { ScramExchange } from '../../src/access/scram-exchange.ts';
import { MemoryBroker } from '../../src/broker/broker.ts';
import type { AccessControl } from '../../src/protocol/access.ts';
import { PacketDecoder } from '../../src/protocol/mqtt/decode.ts';
import { connectReason, disconnectReason } from '../../src/protocol/mqtt/handshake.ts';
import { MqttListener } from '../../src/protocol/mqtt/listener.ts';
import { mqttOptions } from '../../src/protocol/mqtt/options.ts';
import type { ProtocolError } from '../../src/protocol/mqtt/protocol-error.ts';
import { Publisher, Subscriber } from '../model/session-clients.ts';
import { PublisherModel, SubscriberModel } from '../model/session-model.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { MemoryDoor } from '../support/memory-door.ts';
import { bytes, sampleConnects, samplePackets } from '../support/mqtt-bytes.ts';
import { type ServerPacket, TestClock } from '../support/mqtt-server.ts';
import { METHOD } from '../support/scram-client.ts';
import { mutate } from './mqtt-decoder.ts';
import { ASKS_NOBODY } from '../support/rights.ts';

type Random = (below: number) => number;

const STATES = ['before CONNECT', 'in AUTH', 'connected', 'subscribed', 'half of QoS 2'] as const;
const PAIR_TOPIC = 'kept/by/the/pair';
const EXPIRY_MAX_SECONDS = 60;
const ALL = Number.POSITIVE_INFINITY;
const PINGREQ = Buffer.of(0xc0, 0);
const FIRST = Buffer.from('n,,n=ann,r=0123456789');

export interface ServerFuzzCount {
  cases: number;
  /** The decoder's verdict on what was sent was an error. */
  errors: number;
  /** Connections that the server ended. */
  ended: number;
}

/** What the decoder says of the bytes behind what was sent well. */
interface Verdict {
  readonly error: ProtocolError | undefined;
  /** It is the first thing that the decoder says. */
  readonly isFirst: boolean;
  /** A packet is not whole, and took in what came behind it. */
  readonly isOpen: boolean;
  /** That the client spoke, so that it can be told. */
  readonly version: 4 | 5 | undefined;
}

/** Whoever has no method may do everything; who has one never finds a proof. */
const ACCESS: AccessControl = {
  version: 1,
  admit: () => ({
    rights: {
      user: undefined,
      isRevoked: false,
      hasEnded: false,
      ...ASKS_NOBODY,
      may: () => true,
      allows: () => true,
    },
  }),
  exchange: () => {
    const exchange = new ScramExchange({ keysOf: (user) => DECOYS.of(user) });
    return {
      next: (data) => {
        const step = exchange.next(data);
        return step.kind === 'ask' ? { ask: step.data } : { refused: 'bad-credentials' };
      },
    };
  },
  onChange: () => {},
};
const DECOYS = new ScramDecoys(Buffer.alloc(32), [{ iterations: 4096, saltBytes: 16, users: 1 }]);

/** One server with its pair; it is used for some cases, since its fake queues forget nothing. */
export class FuzzedServer {
  readonly #door = new MemoryDoor();
  readonly #clock = new TestClock();
  readonly #options = mqttOptions({ sessionExpiryMaximumSeconds: EXPIRY_MAX_SECONDS });
  readonly #broker = new MemoryBroker(new FakeQueueClient('orders', 'mqtt'), this.#clock, {});
  readonly #listener: MqttListener;
  readonly #publisher: Publisher;
  readonly #subscriber: Subscriber;
  readonly #published: PublisherModel;
  readonly #delivered = new SubscriberModel({
    version: 5,
    granted: 2,
    maxInflight: this.#options.maxInflight,
    aliasMaximum: 0,
  });

  constructor() {
    const silent = (): void => {};
    const log = { debug: silent, info: silent, warn: silent, error: silent };
    const mqtt = this.#options;
    this.#listener = new MqttListener(this.#broker, log, {
      doors: [this.#door],
      mqtt,
      access: ACCESS,
    });
    this.#published = new PublisherModel((message) => this.#delivered.accepted(message));
    const parts = { door: this.#door, version: 5 } as const;
    this.#publisher = new Publisher({ ...parts, clientId: 'pair-p', watch: this.#published });
    this.#subscriber = new Subscriber({ ...parts, clientId: 'pair-s', watch: this.#delivered });
  }

  async start(): Promise<void> {
    await this.#listener.start();
    this.#publisher.line.connect();
    this.#subscriber.line.connect();
    await this.#pairGoesOn();
    this.#subscriber.subscribe(PAIR_TOPIC, 2);
    await this.#pairGoesOn();
  }

  async stop(): Promise<void> {
    this.#publisher.line.cut();
    this.#subscriber.line.cut();
    await this.#listener.stop();
    this.#broker.stop();
  }

  /** One broken packet in one state. */
  async once(random: Random, count: ServerFuzzCount): Promise<void> {
    const state = STATES[random(STATES.length)] ?? 'connected';
    const version = random(2) === 0 && state !== 'in AUTH' ? 4 : 5;
    const clientId = `fuzz-${random(20)}`;
    const good = goodBytes(state, version, clientId);
    const broken = brokenPacket(random, state, version);
    const verdict = this.#verdict(good, broken);
    const said: Buffer[] = [];
    const transport = this.#door.connect((chunk) => said.push(Buffer.from(chunk)));
    if (good.length > 0) {
      transport.send(good);
      await this.#door.settled();
      ok(!transport.isOver, `good bytes were refused: ${state}`);
    }
    const step = random(3) === 0 ? 1 + random(broken.length) : 1;
    for (let at = 0; at < broken.length && !transport.isOver; at += step) {
      transport.send(broken.subarray(at, at + step));
    }
    if (!transport.isOver) transport.send(PINGREQ);
    this.#publisher.publish(PAIR_TOPIC, (1 + random(2)) as 1 | 2, random(100));
    await this.#pairGoesOn();
    count.cases++;
    if (transport.isOver) count.ended++;
    if (verdict.error !== undefined) {
      count.errors++;
      ok(transport.isOver, `${verdict.error.text}: the connection goes on`);
      if (verdict.isFirst) judgeLast(verdict, state, Buffer.concat(said));
    }
    // If nothing before, PINGREQ is no packet of an exchange.
    if (state === 'in AUTH' && !verdict.isOpen) ok(transport.isOver, 'an exchange goes on');
    transport.lose();
  }

  /** Everybody but the pair is gone, and the time of their sessions over. */
  async nothingIsLeft(): Promise<void> {
    await this.#door.settled();
    for (let pass = 0; pass < 2; pass++) {
      this.#clock.advance((EXPIRY_MAX_SECONDS + 1) * 1000);
      this.#listener.sweep();
      await this.#pairGoesOn();
    }
    strictEqual(this.#listener.connectionCount, 2);
    strictEqual(this.#listener.sessions.count, 2);
    strictEqual(this.#listener.sessions.totals.bytes, 0);
    strictEqual(this.#broker.subscriptionCount, 1);
    strictEqual(this.#publisher.unfinished.size, 0);
    this.#published.finished();
    this.#delivered.finished();
  }

  async #pairGoesOn(): Promise<void> {
    const lines = [this.#publisher.line, this.#subscriber.line];
    for (let before = -1; before !== this.#door.activity;) {
      before = this.#door.activity;
      this.#subscriber.answer(ALL, false);
      for (const line of lines) line.up(ALL);
      await this.#door.settled();
      for (const line of lines) line.down(ALL);
      for (const line of lines) line.check();
    }
  }

  #verdict(good: Buffer, broken: Buffer): Verdict {
    const decoder = new PacketDecoder(this.#options);
    decoder.push(good);
    while (decoder.next() !== undefined);
    decoder.push(broken);
    for (let nth = 0; ; nth++) {
      const decoded = decoder.next();
      const { version } = decoder;
      const isOpen = decoder.midPacket;
      if (decoded === undefined) return { error: undefined, isFirst: false, isOpen, version };
      if (decoded.kind === 'protocol-error') {
        return { error: decoded, isFirst: nth === 0, isOpen, version };
      }
    }
  }
}

function generated(fields: object, protocolVersion: 4 | 5): Buffer {
  return mqttPacket.generate(fields as Packet, { protocolVersion });
}

/** Its session is kept, and another case may resume it. */
function connectOf(version: 4 | 5, clientId: string): Buffer {
  const properties = { sessionExpiryInterval: EXPIRY_MAX_SECONDS };
  const protocol = { protocolId: 'MQTT', protocolVersion: version };
  const fields = { cmd: 'connect', ...protocol, clean: false, clientId, keepalive: 0 };
  return generated({ ...fields, ...(version === 5 && { properties }) }, version);
}

function goodBytes(state: (typeof STATES)[number], version: 4 | 5, clientId: string): Buffer {
  const first = connectOf(version, clientId);
  switch (state) {
    case 'before CONNECT':
      return Buffer.alloc(0);
    case 'in AUTH': {
      const properties = { authenticationMethod: METHOD, authenticationData: FIRST };
      const protocol = { protocolId: 'MQTT', protocolVersion: version, clientId };
      return generated({ cmd: 'connect', ...protocol, properties }, version);
    }
    case 'connected':
      return first;
    case 'subscribed': {
      const subscriptions = ['a/+', '$queue/orders'].map((topic) => ({ topic, qos: 1 }));
      return bytes(first, generated({ cmd: 'subscribe', messageId: 1, subscriptions }, version));
    }
    default: {
      const publish = { cmd: 'publish', topic: 'a/b', payload: 'x', qos: 2, messageId: 7 };
      return bytes(first, generated({ ...publish, retain: false, dup: false }, version));
    }
  }
}

function brokenPacket(random: Random, state: string, version: 4 | 5): Buffer {
  const first = state === 'before CONNECT' && random(4) > 0;
  const samples = (first ? sampleConnects : samplePackets).filter(
    (sample) => sample.version === version,
  );
  let raw = Buffer.from(samples[random(samples.length)]?.bytes ?? PINGREQ);
  for (let times = 1 + random(3); times > 0; times--) {
    if (raw.length > 0) raw = Buffer.from(mutate(random, raw));
  }
  return raw.length > 0 ? raw : PINGREQ;
}

/** The last word of the server is the reason of the decoder; a 3.1.1 client hears none. */
function judgeLast({ error, version }: Verdict, state: string, said: Buffer): void {
  const packets: ServerPacket[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version ?? 4 });
  parser.on('packet', (packet: Packet) => packets.push(packet as unknown as ServerPacket));
  parser.parse(said);
  const last = packets.at(-1);
  if (error === undefined) return;
  if (state === 'before CONNECT' || state === 'in AUTH') {
    if (version === undefined)
      strictEqual(said.length, 0, 'an answer in a version that is unknown');
    if (version === 5) strictEqual(last?.['reasonCode'], connectReason(error.reasonCode));
    return;
  }
  if (version === 5) {
    strictEqual(last?.cmd, 'disconnect');
    strictEqual(last['reasonCode'], disconnectReason(error.reasonCode));
  } else ok(last?.cmd !== 'disconnect');
}
