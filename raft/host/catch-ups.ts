/**
 * Both ends of catch-ups as the replica has them: which messages go to which end, what the core
 * asks for, and how a finished checkpoint takes the replica's place.
 *
 * The core decides whether a checkpoint is installed, and where in the stream of writes. From its
 * order on nothing more is written here; when all that was written before is durable, the entries
 * that stay are copied, the vote is handed over, and the new state is made current. Then this
 * replica has ended and is opened anew, on the same path as after a crash: what the core had
 * written behind the order was never acknowledged, so nobody misses it.
 */

import type { LogIndex, ServerId } from '../core/ids.ts';
import type { Raft } from '../core/raft.ts';
import type { CatchUp, HardState, Persist, SoftState } from '../core/ready.ts';
import type { Entry } from '../core/entry.ts';
import type { CatchUpMessage, CatchUpWant } from './catch-up-messages.ts';
import type { CatchUpPace } from './catch-up-pace.ts';
import type { CatchUpSink, CatchUpSource, CheckpointName, HeldFor } from './catch-up-ports.ts';
import { CatchUpReceiver } from './catch-up-receiver.ts';
import { CatchUpSender } from './catch-up-sender.ts';
import type { Clock, Disk, Network, ReplicaEnd } from './ports.ts';

export interface CatchUpPorts {
  readonly source: CatchUpSource;
  readonly sink: CatchUpSink;
  /** CRC-32 (IEEE). */
  checksum(bytes: Uint8Array): number;
  /** For people: an attempt broke off here, and why. */
  failed(error: Error): void;
}

export interface CatchUpsOptions {
  readonly id: ServerId;
  readonly raft: Raft;
  readonly disk: Disk;
  readonly network: Network;
  readonly clock: Clock;
  readonly catchUp: CatchUpPorts;
  readonly pace: CatchUpPace;
  /** The core has something to do. */
  changed(): void;
  ended(end: ReplicaEnd): void;
}

const READ_BYTES = 1 << 20;
const WANT_AGAIN_MS = 1_000;

export class CatchUps {
  readonly #options: CatchUpsOptions;
  readonly #sender: CatchUpSender;
  readonly #receiver: CatchUpReceiver;
  /** Pieces of the stream of writes, up to the order. */
  #lastToken = 0;
  #persistedToken = 0;
  #hardState: HardState;
  #order: Persist | undefined;
  #wantAgainMs = 0;

  constructor(options: CatchUpsOptions) {
    this.#options = options;
    this.#hardState = options.disk.hardState;
    const { id, network, clock, catchUp, pace, raft } = options;
    const common = {
      id,
      checksum: (bytes: Uint8Array) => catchUp.checksum(bytes),
      monotonicMs: () => clock.monotonicMs(),
      send: (message: CatchUpMessage) => void network.send(message),
    };
    this.#sender = new CatchUpSender({
      ...common,
      source: catchUp.source,
      pace,
      hasRoom: (to) => network.hasRoom(to),
      ended: (to, session) => {
        raft.catchUpEnded(to, session);
        options.changed();
      },
    });
    this.#receiver = new CatchUpReceiver({
      ...common,
      sink: catchUp.sink,
      term: () => raft.term,
      has: () => newestOfNoUse(raft),
      complete: (checkpoint, serveFrom) => this.#complete(checkpoint, serveFrom),
      failed: (error) => catchUp.failed(error),
    });
  }

  get heldBehind(): LogIndex {
    return this.#sender.heldBehind;
  }

  release(start: LogIndex, heldFor: Exclude<HeldFor, 'all'>): void {
    this.#sender.release(start, heldFor);
  }

  begin(catchUp: CatchUp): void {
    this.#sender.begin(catchUp, this.#options.raft.term);
  }

  received(message: CatchUpMessage | CatchUpWant): void {
    switch (message.kind) {
      case 'catchUpWant':
        // A leader of another term would offer what nobody takes.
        if (message.term === this.#options.raft.term) {
          this.#options.raft.catchUpWanted(message.from, message.least);
        }
        return;
      case 'catchUpOffer':
        if (this.#options.raft.meets(message.configuration)) this.#receiver.offer(message);
        return;
      case 'catchUpAsk':
        this.#sender.ask(message);
        return;
      case 'catchUpAnswer':
        this.#receiver.answer(message);
        return;
      case 'catchUpEnd':
        if (message.outcome === 'gone') this.#receiver.gone(message);
        else this.#sender.end(message);
    }
  }

  room(to: ServerId): void {
    this.#sender.room(to);
  }

  roleChanged({ role }: SoftState): void {
    if (role !== 'leader') this.#sender.close();
  }

  appliedMore(): void {
    this.#receiver.appliedMore();
  }

  look(): void {
    this.#sender.look();
    this.#receiver.look();
    if (this.#options.raft.isStateLost) this.#want();
  }

  /** Until a transfer has begun. */
  #want(): void {
    const { id, raft, network, clock } = this.#options;
    const { leader, term, start } = raft.status();
    const nowMs = clock.monotonicMs();
    if (leader === undefined || this.#receiver.isReceiving || nowMs < this.#wantAgainMs) return;
    this.#wantAgainMs = nowMs + WANT_AGAIN_MS;
    network.send({ kind: 'catchUpWant', from: id, to: leader, term, least: start - 1 });
  }

  /** False: this piece, and all behind it, are not to be written. */
  takes(persist: Persist): boolean {
    if (this.#order !== undefined) return false;
    if (persist.hardState !== undefined) this.#hardState = persist.hardState;
    if (persist.snapshot === undefined) {
      this.#lastToken = persist.token;
      return true;
    }
    this.#order = persist;
    this.#replaceWhenDurable();
    return false;
  }

  /** False: the core is not to hear of it any more. */
  persisted(token: number): boolean {
    this.#persistedToken = token;
    if (this.#order === undefined) return true;
    this.#replaceWhenDurable();
    return false;
  }

  close(): void {
    this.#sender.close();
    this.#receiver.close();
  }

  #complete(
    { index, term, configuration }: CheckpointName,
    serveFrom: LogIndex,
  ): 'agreed' | 'later' | 'refused' {
    const outcome = this.#options.raft.install({ index, term, configuration, serveFrom });
    this.#options.changed();
    if (outcome.kind === 'accepted') return 'agreed';
    return outcome.code === 'applying' ? 'later' : 'refused';
  }

  #replaceWhenDurable(): void {
    const snapshot = this.#order?.snapshot;
    if (snapshot === undefined || this.#persistedToken < this.#lastToken) return;
    const { index, keepSuffix } = snapshot;
    const kept = keepSuffix ? this.#entriesBehind(index) : nothing();
    this.#receiver.makeCurrent(this.#hardState, kept).then(
      () => this.#options.ended({ kind: 'replaced', index }),
      (error: unknown) => {
        const failure = error instanceof Error ? error : new Error(String(error));
        this.#options.ended({ kind: 'failed', error: failure });
      },
    );
  }

  async *#entriesBehind(index: LogIndex): AsyncGenerator<readonly Entry[]> {
    const { disk } = this.#options;
    let next = index + 1;
    while (next <= disk.durable) {
      const outcome = await disk.read(next, READ_BYTES);
      if (outcome.kind !== 'entries')
        throw new Error(`entry ${next} cannot be read: it was to stay`);
      yield outcome.entries;
      next = (outcome.entries.at(-1)?.index ?? next) + 1;
    }
  }
}

/** A checkpoint at this index brings nothing; without a state one that its log follows does. */
function newestOfNoUse(raft: Raft): LogIndex {
  const { applied, start, stateLost } = raft.status();
  return stateLost ? start - 2 : applied;
}

async function* nothing(): AsyncGenerator<readonly Entry[]> {}
