/**
 * One MQTT connection: bytes in, packets to their handlers, one way to end.
 *
 *     connecting --CONNECT--> entering --> connected --> closing --> closed
 *          \____________________\____________________/
 *
 * While it enters (`arrival.ts`) nothing more is read than AUTH that was asked for.
 *
 * `#leave` runs once, whatever ends the connection, and is the only place that gives the session
 * back; an event of the transport that comes later finds the state closed (P10). While closing,
 * what the client still sends is thrown away, so that the last packet reaches it and is not lost in
 * a reset. Reading stops for many reasons (`stops.ts`), and while the client is too fast.
 *
 * MQTT 5.0 sections 3.1, 3.14, 4.8, 4.13.
 */

import type { Transport, TransportEvents } from '../transport.ts';
import { connectedFields, lostRight } from './admission.ts';
import { arrive, type Arrived, type ConnectAnswer } from './arrival.ts';
import { reauthenticated } from './authentication.ts';
import type { Authorized } from './authorization.ts';
import { acknowledged, type Client, makeClient, type ServerEnding } from './client.ts';
import type { MqttContext } from './context.ts';
import { PacketDecoder } from './decode.ts';
import { type Departure, goodbye, logDeparture } from './departure.ts';
import { encodeConnack, encodeDisconnect, encodePingresp, type Recipient } from './encode.ts';
import {
  connackProperties,
  connectReason,
  type ConnectRefusal,
  disconnectReason,
} from './handshake.ts';
import type { MqttLimit } from './limits.ts';
import { Output } from './output.ts';
import type { ClientPacket, ConnectPacket, DisconnectPacket } from './packet.ts';
import { type Pace, paceOf } from './pace.ts';
import type { ProtocolError } from './protocol-error.ts';
import { ReasonCode } from './reason-codes.ts';
import type { SessionOwner } from './sessions.ts';
import { Stops } from './stops.ts';
import { Stranger } from './stranger.ts';
import { outOfTime } from './time-limits.ts';
import { BYTES_OF_WORK, FILTER_WORK, type TurnMember } from './turn.ts';

/** From the last word of the server to the end of the transport, at most. */
const CLOSING_MS = 5000;

export interface ConnectionHooks {
  /** The shard is behind: call `shardWritable` when it is not. */
  readonly awaitShard: (connection: Connection) => void;
  /** The transport is closed. */
  readonly closed: (connection: Connection) => void;
}

export class Connection implements TurnMember, SessionOwner, TransportEvents {
  readonly #context: MqttContext;
  readonly #transport: Transport;
  readonly #hooks: ConnectionHooks;
  readonly #decoder: PacketDecoder;
  readonly #output: Output;
  #state: 'connecting' | 'entering' | 'connected' | 'closing' | 'closed' = 'connecting';
  #client: Client | undefined;
  /** To whom the next packet goes, where CONNACK is not the next word. */
  #hear: ((packet: ClientPacket) => void) | undefined;
  #work = 0;
  #workTurn = -1;
  /** Why nothing is read now. */
  readonly #stopped = new Stops();
  #pace: Pace | undefined;
  #stranger: Stranger | undefined;
  #lastReadMs: number;
  #stateSinceMs: number;

  constructor(context: MqttContext, transport: Transport, hooks: ConnectionHooks) {
    this.#context = context;
    this.#transport = transport;
    this.#hooks = hooks;
    this.#decoder = new PacketDecoder(context.options);
    this.#output = new Output(transport, context.turn, this);
    this.#lastReadMs = context.broker.clock.now();
    this.#stateSinceMs = this.#lastReadMs;
    transport.attach(this);
  }

  // --- reading

  received(chunk: Uint8Array): void {
    this.#context.turn.reads();
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#lastReadMs = this.#context.broker.clock.now();
    this.#decoder.push(chunk);
    if (this.#pace?.received(chunk.length) === false) return;
    this.#read(chunk.length / BYTES_OF_WORK);
    if (this.#state === 'connecting' || this.#state === 'entering') this.#owes(chunk.length);
  }

  /** What a stranger sent is kept until its CONNECT is answered. */
  #owes(bytes: number): void {
    this.#stranger ??= new Stranger(this.#context, this.#stopped, () => this.#go());
    if (!this.#stranger.sent(bytes)) {
      this.#count('handshake-bytes');
      this.#cut('too many bytes of CONNECT packets that are not whole');
    } else if (this.#state === 'connecting' && this.#stranger.pieceCame()) this.#transport.pause();
  }

  #read(work: number): void {
    const { turn, counters, options } = this.#context;
    if (this.#workTurn !== turn.number) {
      this.#workTurn = turn.number;
      this.#work = turn.takeShare();
    }
    this.#work -= work;
    if (this.#output.waiting > options.maxBufferedBytes && !this.#stopped.output) {
      this.#stopped.output = true;
      counters.limited.buffered++;
    }
    while (!this.#isStopped) {
      if (this.#work <= 0) {
        this.#stopped.share = true;
        turn.readNext(this);
        break;
      }
      const packet = this.#decoder.next();
      if (packet === undefined) return;
      const sentBefore = counters.sent;
      if (packet.kind === 'protocol-error') this.#fault(packet);
      else if (this.#client === undefined) this.#first(packet);
      else this.#dispatch(packet, this.#client);
      this.#work -= 1 + counters.sent - sentBefore;
      if (this.#state !== 'connected' && this.#state !== 'entering') return;
    }
    this.#transport.pause();
  }

  get #isStopped(): boolean {
    return this.#stopped.any || this.#pace?.held === true;
  }

  #go(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    if (this.#isStopped) return;
    this.#read(0);
    if (!this.#isStopped) this.#transport.resume();
  }

  /** The share of the next turn. */
  nextTurn(): void {
    this.#stopped.share = false;
    this.#go();
  }

  shardWritable(): void {
    this.#stopped.shard = false;
    this.#go();
  }

  #dispatch(packet: ClientPacket, client: Client): void {
    switch (packet.kind) {
      case 'publish':
      case 'subscribe':
        if (packet.kind === 'publish' && this.#pace?.published() === false) return;
        this.#authorize(packet, client);
        return;
      case 'puback':
      case 'pubrec':
      case 'pubrel':
      case 'pubcomp':
        this.#endIf(acknowledged(packet, client));
        return;
      case 'unsubscribe':
        client.subscriptions.unsubscribe(packet);
        this.#stopped.change = client.subscriptions.isChanging;
        return;
      case 'pingreq':
        encodePingresp(this.#output.writer);
        this.#output.appended();
        return;
      case 'disconnect':
        this.#disconnect(packet);
        return;
      case 'auth':
        this.#endIf(reauthenticated(packet, client.reauthentication));
        return;
      case 'connect':
        this.end({ reasonCode: ReasonCode.protocolError, text: 'a second CONNECT' });
    }
  }

  /** Taken at once, or when a service has answered. */
  #authorize(packet: Authorized, client: Client): void {
    this.#stopped.verdict = client.authorization?.holds(packet) === true;
    if (!this.#stopped.verdict) this.#take(packet, client);
  }

  #take(packet: Authorized, client: Client): void {
    if (packet.kind === 'publish') {
      const result = client.flow.publish(packet);
      if (typeof result === 'object') this.end(result);
      else this.#afterPublish(client, result);
      return;
    }
    this.#work -= packet.subscriptions.length * FILTER_WORK;
    client.subscriptions.subscribe(packet);
    this.#stopped.change = client.subscriptions.isChanging;
  }

  #afterPublish(client: Client, forQueue: boolean): void {
    if (client.flow.full) {
      this.#stopped.answers = true;
      this.#context.counters.limited['receive-maximum']++;
    }
    if (forQueue && !this.#context.broker.writable) {
      this.#stopped.shard = true;
      this.#hooks.awaitShard(this);
    }
  }

  // --- CONNECT

  #first(packet: ClientPacket): void {
    const hear = this.#hear;
    if (hear !== undefined) {
      this.#hear = undefined;
      this.#stopped.entry = true;
      if (packet.kind === 'disconnect') this.#disconnect(packet);
      else hear(packet);
      return;
    }
    if (packet.kind !== 'connect') {
      this.#cut('the first packet is not CONNECT');
      return;
    }
    this.#transport.introduced();
    this.#state = 'entering';
    this.#stopped.entry = true;
    let isCall = true;
    arrive(packet, {
      context: this.#context,
      transport: this.#transport,
      output: this.#output,
      owner: this,
      listen: (hear) => {
        this.#hear = hear;
        this.#stopped.entry = false;
      },
      isGone: () => this.#state !== 'entering',
      answered: (answer) => {
        this.#answer(packet, answer);
        if (!isCall) this.#go();
      },
    });
    isCall = false;
  }

  #answer(packet: ConnectPacket, answer: ConnectAnswer): void {
    this.#stopped.entry = false;
    if (answer.kind === 'arrived') this.#letIn(packet, answer);
    else if (answer.kind === 'refused') this.#refuse(packet, answer.refusal);
    else this.#cut('the client id connected again');
  }

  #letIn(packet: ConnectPacket, arrived: Arrived): void {
    const { grant, rights, attached, will, authentication } = arrived;
    const { options, counters, log } = this.#context;
    const { session, present } = attached;
    const client = makeClient(packet, grant, {
      context: this.#context,
      session,
      rights,
      output: this.#output,
      will,
      end: (ending) => this.end(ending),
      changed: () => this.#changed(),
      take: (packet) => {
        this.#stopped.verdict = false;
        this.#take(packet, client);
        this.#go();
      },
    });
    this.#client = client;
    this.#transport.admitted();
    this.#decoder.admitted();
    this.#enter('connected');
    const end = (ending: ServerEnding): void => this.end(ending);
    this.#pace = paceOf(this.#context, { end, go: () => this.#go() });
    counters.connected++;
    const connack = {
      sessionPresent: present,
      reasonCode: ReasonCode.success,
      properties: { ...connackProperties(packet, grant, options), ...authentication },
    };
    const from = { transport: this.#transport, user: rights?.user, present };
    log.info(connectedFields(packet, grant, from), 'client connected');
    if (!encodeConnack(this.#output.writer, client.recipient, connack)) {
      this.#leave({
        text: 'CONNACK is larger than the client takes',
        by: 'server',
        returned: true,
      });
      this.#output.end();
      return;
    }
    this.#output.appended();
    session.channel = client.outbound;
    client.deliveries?.begin(client.outbound);
    client.subscriptions.resume();
  }

  /** The log has what the client changed of its subscriptions; what it said next is read now. */
  #changed(): void {
    this.#stopped.change = false;
    this.#go();
  }

  #refuse(packet: ConnectPacket, refusal: ConnectRefusal): void {
    const maximumPacketSize = packet.properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY;
    this.#answerRefused({ version: packet.version, maximumPacketSize }, refusal);
  }

  #answerRefused(recipient: Recipient, refusal: ConnectRefusal, fault?: string): void {
    const { reasonCode, text } = refusal;
    this.#count(refusal.limit);
    const properties = { reasonString: text };
    encodeConnack(this.#output.writer, recipient, {
      sessionPresent: false,
      reasonCode,
      properties,
    });
    this.#leave({
      text: `CONNECT refused: ${text}`,
      by: 'server',
      returned: true,
      reasonCode,
      ...(fault !== undefined && { fault }),
    });
    this.#output.end();
  }

  // --- ending

  #fault({ fault, reasonCode, text }: ProtocolError): void {
    this.#context.counters.protocolErrors++;
    if (fault === 'packetTooLarge') this.#count('packet-size');
    if (this.#client !== undefined) {
      this.end({ reasonCode: disconnectReason(reasonCode), text });
      return;
    }
    const { version } = this.#decoder;
    if (version === undefined) {
      this.#cut(text);
      return;
    }
    const recipient = { version, maximumPacketSize: this.#decoder.answerSizeMax };
    this.#answerRefused(recipient, { reasonCode: connectReason(reasonCode), text }, fault);
  }

  /** The server ends the connection, and says why to a 5.0 client. */
  end(ending: ServerEnding, returned = false): void {
    const client = this.#client;
    if (this.#state !== 'connected' || client === undefined) {
      if (this.#state === 'connecting' || this.#state === 'entering') this.#cut(ending.text);
      return;
    }
    const { reasonCode, text } = ending;
    this.#count(ending.limit);
    if (client.recipient.version === 5) {
      const properties = { reasonString: text };
      encodeDisconnect(this.#output.writer, client.recipient, { reasonCode, properties });
    }
    this.#leave({ text, by: 'server', returned, reasonCode });
    this.#output.end();
  }

  #count(limit: MqttLimit | undefined): void {
    if (limit !== undefined) this.#context.counters.limited[limit]++;
  }

  #endIf(ending: ServerEnding | undefined): void {
    if (ending !== undefined) this.end(ending);
  }

  /** Other rules hold: whoever loses a right that is in use has to know. Gives what that cost. */
  accessChanged(): number {
    const { rights, session } = this.#client ?? {};
    if (this.#state !== 'connected' || rights === undefined || session === undefined) return 1;
    const cost = 1 + session.subscriptions.size;
    this.#endIf(lostRight(session, rights));
    return cost;
  }

  takenOver(): void {
    this.end({ reasonCode: ReasonCode.sessionTakenOver, text: 'the client id connected again' });
  }

  /** DISCONNECT of the client, before CONNACK too. */
  #disconnect(packet: DisconnectPacket): void {
    const departure = goodbye(packet, this.#client, this.#context.options);
    if ('by' in departure) {
      this.#leave(departure);
      this.#output.end();
    } else this.end(departure);
  }

  /** Without a word: the peer is not known to speak MQTT, or does not listen. */
  #cut(text: string): void {
    this.#leave({ text, by: 'server', returned: false });
    this.#output.cut();
  }

  drained(): void {
    this.#output.ask();
  }

  closed(text = 'the connection was closed'): void {
    if (this.#state !== 'closing') this.#leave({ text, by: 'network', returned: false });
    this.#state = 'closed';
    this.#hooks.closed(this);
  }

  /** Gives the session back; the connection has no part in it from here on. */
  #leave(how: Departure): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const client = this.#client;
    this.#enter('closing');
    this.#pace?.close();
    this.#transport.resume();
    const { sessions, log } = this.#context;
    logDeparture(log, how, { remote: this.#transport.remote, client });
    if (client === undefined) return;
    client.authorization?.close();
    client.flow.close();
    client.subscriptions.close();
    client.consumers.closeAll(how.returned ? 'returned' : 'lost');
    client.deliveries?.close();
    const will = how.willless === true ? undefined : client.will;
    sessions.detach(this, client.session, will);
  }

  #enter(state: 'connected' | 'closing'): void {
    this.#state = state;
    this.#stranger?.close();
    this.#stranger = undefined;
    this.#stateSinceMs = this.#context.broker.clock.now();
  }

  endTurn(): void {
    const client = this.#state === 'connected' ? this.#client : undefined;
    client?.outbound.sendWaiting();
    this.#output.endTurn();
    if (client === undefined) return;
    client.consumers.grant();
    client.deliveries?.grant();
    if (client.outbound.canSend && client.outbound.roomy) this.#output.ask();
    this.#maybeGo(client);
  }

  #maybeGo(client: Client): void {
    const { answers, output } = this.#stopped;
    if (!answers && !output) return;
    if (answers && !client.flow.full) this.#stopped.answers = false;
    const { maxBufferedBytes } = this.#context.options;
    if (output && this.#output.waiting * 2 <= maxBufferedBytes) this.#stopped.output = false;
    this.#go();
  }

  /** Looks at what should have happened by now; called every second or so. */
  sweep(now: number): void {
    switch (this.#state) {
      case 'connecting':
        if (now < this.#transport.deadlineMs) return;
        this.#transport.late();
        this.#cut('no CONNECT in time');
        return;
      case 'entering':
        if (now >= this.#transport.deadlineMs) this.#cut('CONNECT was not answered in time');
        return;
      case 'connected':
        this.#sweepConnected(now);
        return;
      case 'closing':
        if (now - this.#stateSinceMs >= CLOSING_MS) this.#output.cut();
        return;
      case 'closed':
    }
  }

  #sweepConnected(now: number): void {
    const client = this.#client;
    if (client === undefined) return;
    // The end of a drain that came without an event (the socket took the rest at once).
    this.#maybeGo(client);
    const { ours, output } = this.#stopped;
    // Who is not read cannot give a sign of life; who does not read is given none.
    const held = ours || this.#pace?.held === true;
    if (held || (output && this.#output.advanced())) this.#lastReadMs = now;
    this.#endIf(outOfTime(client, { now, lastReadMs: this.#lastReadMs }));
  }
}
