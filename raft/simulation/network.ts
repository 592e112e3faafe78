/**
 * The network between simulated nodes: one directed link for each ordered pair, each with faults of
 * its own.
 *
 * A link delays, loses and doubles messages, brings old ones again, holds them back (clogged: they
 * come later, all of them), or is cut (they are gone). Without `reorders` a link keeps the order of
 * its messages, as a stream does. It never changes a message, and never invents one.
 */

import type { Counters } from './counters.ts';
import type { Kernel } from './kernel.ts';
import type { Random } from './random.ts';

export interface LinkFaults {
  /** Chances for each message. */
  readonly loss: number;
  readonly duplication: number;
  readonly replay: number;
  readonly reorders: boolean;
  readonly delayLeastUs: number;
  readonly delayMostUs: number;
}

/** Old messages that a link may bring again. */
const REMEMBERED = 32;
const REPLAY_DELAY_MOST_US = 2_000_000;

interface Link<Message> {
  /** By how many partitions. */
  cuts: number;
  cloggedUntilUs: number;
  lastArrivalUs: number;
  readonly old: Message[];
}

export interface NetworkOptions<Message> {
  readonly kernel: Kernel;
  readonly faults: LinkFaults;
  readonly counters: Counters;
  deliver(from: string, to: string, message: Message): void;
}

export class Network<Message> {
  readonly #kernel: Kernel;
  readonly #random: Random;
  readonly #counters: Counters;
  readonly #deliver: NetworkOptions<Message>['deliver'];
  /** By who sends and who receives. */
  readonly #links = new Map<string, Map<string, Link<Message>>>();
  #faults: LinkFaults;

  constructor(options: NetworkOptions<Message>) {
    this.#kernel = options.kernel;
    this.#random = options.kernel.stream('net');
    this.#counters = options.counters;
    this.#faults = options.faults;
    this.#deliver = (from, to, message) => options.deliver(from, to, message);
  }

  send(from: string, to: string, message: Message): void {
    const link = this.#link(from, to);
    this.#counters.add('messages');
    if (link.cuts > 0) return this.#counters.add('fault: message into a cut');
    const random = this.#random;
    const { loss, duplication, replay } = this.#faults;
    const lost = random.chance(loss);
    const doubled = random.chance(duplication);
    const replayed = random.chance(replay);
    if (replayed && link.old.length > 0) this.#replay(from, to, random.pick(link.old));
    link.old.push(message);
    if (link.old.length > REMEMBERED) link.old.shift();
    if (lost) return this.#counters.add('installed: loss');
    this.#carry(from, to, message);
    if (!doubled) return;
    this.#counters.add('installed: duplication');
    this.#carry(from, to, message);
  }

  cut(from: string, to: string): void {
    this.#link(from, to).cuts += 1;
  }

  /** Ends one cut; the link is whole when every one has ended. */
  mend(from: string, to: string): void {
    const link = this.#link(from, to);
    link.cuts = Math.max(0, link.cuts - 1);
  }

  /** Messages that are sent meanwhile arrive afterwards. */
  clog(from: string, to: string, durationUs: number): void {
    const link = this.#link(from, to);
    link.cloggedUntilUs = Math.max(link.cloggedUntilUs, this.#kernel.nowUs + durationUs);
  }

  /** No fault of a link any more, and every link whole; what is on its way arrives. */
  heal(): void {
    const { delayLeastUs } = this.#faults;
    this.#faults = {
      loss: 0,
      duplication: 0,
      replay: 0,
      reorders: false,
      delayLeastUs,
      delayMostUs: delayLeastUs,
    };
    for (const links of this.#links.values()) {
      for (const link of links.values()) {
        link.cuts = 0;
        link.cloggedUntilUs = 0;
      }
    }
  }

  #replay(from: string, to: string, old: Message): void {
    this.#counters.add('installed: replay');
    const delayUs = this.#random.between(0, REPLAY_DELAY_MOST_US);
    this.#kernel.after(delayUs, () => this.#arrive(from, to, old));
  }

  #carry(from: string, to: string, message: Message): void {
    const { reorders, delayLeastUs, delayMostUs } = this.#faults;
    const link = this.#link(from, to);
    const nowUs = this.#kernel.nowUs;
    let arrivalUs = nowUs + this.#random.between(delayLeastUs, delayMostUs);
    if (link.cloggedUntilUs > nowUs) {
      this.#counters.add('fault: message held back');
      arrivalUs += link.cloggedUntilUs - nowUs;
    }
    if (!reorders) arrivalUs = Math.max(arrivalUs, link.lastArrivalUs);
    else if (arrivalUs < link.lastArrivalUs) this.#counters.add('installed: reordering');
    link.lastArrivalUs = Math.max(arrivalUs, link.lastArrivalUs);
    this.#kernel.after(arrivalUs - nowUs, () => this.#arrive(from, to, message));
  }

  /** A cut takes what is on its way too. */
  #arrive(from: string, to: string, message: Message): void {
    if (this.#link(from, to).cuts > 0) return this.#counters.add('fault: message into a cut');
    this.#deliver(from, to, message);
  }

  #link(from: string, to: string): Link<Message> {
    let links = this.#links.get(from);
    if (links === undefined) {
      links = new Map();
      this.#links.set(from, links);
    }
    let link = links.get(to);
    if (link === undefined) {
      link = { cuts: 0, cloggedUntilUs: 0, lastArrivalUs: 0, old: [] };
      links.set(to, link);
    }
    return link;
  }
}
