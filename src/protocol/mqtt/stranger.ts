/**
 * What is kept of one that has not come in: bytes of its CONNECT, which count against those of all
 * strangers, and in how many pieces they came.
 *
 * Who needs many pieces and much time rests after each further one and is not read meanwhile, so
 * that how often it costs the broker a turn is not for it to say: hundreds that send a byte each in
 * step would be read in one go, before everybody else. TCP keeps what it sends, and its deadline
 * goes on. Libraries that make a segment or a frame of each field are through before.
 */

import type { MqttContext } from './context.ts';
import type { HeldMember } from './held.ts';
import type { Stops } from './stops.ts';

const PIECES_FREE = 8;
/** From the first piece on. */
const PROMPT_MS = 500;
const REST_MS = 250;
/** Those that came in step go on one after the other, within so much more time. */
const SPREAD_MS = 250;
const SPREAD_STEPS = 16;

export class Stranger implements HeldMember {
  /** Of all of them: who rests next goes on at another time. */
  static #nextStep = 0;
  readonly #context: MqttContext;
  readonly #stops: Stops;
  readonly #go: () => void;
  #bytes = 0;
  #pieces = 0;
  #sinceMs = 0;
  #untilMs = 0;

  /** `go` is called when it may be read again. */
  constructor(context: MqttContext, stops: Stops, go: () => void) {
    this.#context = context;
    this.#stops = stops;
    this.#go = go;
  }

  /** False: that is more than all strangers together may have here. */
  sent(bytes: number): boolean {
    const { strangers, options } = this.#context;
    this.#bytes += bytes;
    strangers.bytes += bytes;
    return strangers.bytes <= options.maxHandshakeBytes;
  }

  /** Another piece came, and its CONNECT is not whole. True: it rests now. */
  pieceCame(): boolean {
    const { broker, counters, held } = this.#context;
    const now = broker.clock.now();
    if (this.#pieces === 0) this.#sinceMs = now;
    this.#pieces++;
    if (this.#pieces <= PIECES_FREE || now - this.#sinceMs < PROMPT_MS) return false;
    if (this.#untilMs === 0) counters.limited['connect-pieces']++;
    const step = Stranger.#nextStep;
    Stranger.#nextStep = (step + 1) % SPREAD_STEPS;
    this.#untilMs = now + REST_MS + (step * SPREAD_MS) / SPREAD_STEPS;
    this.#stops.pieces = true;
    held.add(this);
    return true;
  }

  look(now: number): void {
    if (now < this.#untilMs) return;
    this.#rested();
    this.#go();
  }

  /** It came in, or is gone. Once. */
  close(): void {
    this.#context.strangers.bytes -= this.#bytes;
    this.#rested();
  }

  #rested(): void {
    this.#stops.pieces = false;
    this.#context.held.delete(this);
  }
}
