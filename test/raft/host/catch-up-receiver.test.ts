/** The receiver of a catch-up alone: what it asks, and when. */

import { describe, expect, it } from 'vitest';
import type { CatchUpMessage, CatchUpOffer } from '../../../raft/host/catch-up-messages.ts';
import type { CatchUpBuilding } from '../../../raft/host/catch-up-ports.ts';
import { CatchUpReceiver } from '../../../raft/host/catch-up-receiver.ts';
import { checksumOf } from './hosts.ts';

const NAMES = { from: 'a', to: 'b', session: 1, term: 2, transfer: 3 };
const OFFER: CatchUpOffer = {
  kind: 'catchUpOffer',
  ...NAMES,
  index: 100,
  indexTerm: 2,
  configuration: { index: 1, configuration: { members: [] } },
  summary: new Uint8Array(0),
};

/** Knows its next question as soon as it has seen an answer, and writes that until told. */
class SlowBuilding implements CatchUpBuilding {
  readonly serveFrom = 100;
  readonly #questions: number;
  readonly #written: (() => void)[] = [];
  #asked = 0;
  #seen = 0;
  #taken = 0;

  constructor(questions: number) {
    this.#questions = questions;
  }

  get isWriting(): boolean {
    return this.#written.length > 0;
  }

  next(): Uint8Array | 'wait' | 'complete' {
    if (this.#taken === this.#questions) return 'complete';
    if (this.#asked > this.#seen || this.#asked === this.#questions) return 'wait';
    this.#asked++;
    return Uint8Array.of(this.#asked);
  }

  async take(): Promise<void> {
    this.#seen++;
    await new Promise<void>((resolve) => this.#written.push(resolve));
    this.#taken++;
  }

  written(): void {
    this.#written.shift()?.();
  }

  keep(): Promise<void> {
    return Promise.resolve();
  }

  makeCurrent(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.written();
  }
}

function receiving(building: CatchUpBuilding): {
  readonly receiver: CatchUpReceiver;
  readonly sent: CatchUpMessage[];
  readonly completed: number[];
  readonly world: { nowMs: number; has: number; forgotten: number };
} {
  const world = { nowMs: 0, has: 0, forgotten: 0 };
  const sent: CatchUpMessage[] = [];
  const completed: number[] = [];
  const receiver = new CatchUpReceiver({
    id: 'b',
    sink: { begin: () => Promise.resolve(building), forget: () => void world.forgotten++ },
    checksum: checksumOf,
    monotonicMs: () => world.nowMs,
    term: () => 2,
    has: () => world.has,
    send: (message) => void sent.push(message),
    complete: ({ index }) => {
      completed.push(index);
      return 'agreed';
    },
    failed: (error) => {
      throw error;
    },
  });
  return { receiver, sent, completed, world };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function answer(receiver: CatchUpReceiver, number: number): void {
  const bytes = Uint8Array.of(number);
  const checksum = checksumOf(bytes);
  receiver.answer({ kind: 'catchUpAnswer', ...NAMES, number, bytes, checksum });
}

describe('a receiver of a catch-up', () => {
  it('asks for what comes next while what has come is being written, and no further', async () => {
    const building = new SlowBuilding(3);
    const { receiver, sent } = receiving(building);
    receiver.offer(OFFER);
    await turn();
    expect(sent).toHaveLength(1);
    answer(receiver, 1);
    expect(building.isWriting).toBe(true);
    expect(sent.map((message) => (message.kind === 'catchUpAsk' ? message.number : 0))).toEqual([
      1, 2,
    ]);
    answer(receiver, 2);
    await turn();
    expect(sent).toHaveLength(2);
    building.written();
    await turn();
    expect(sent).toHaveLength(3);
  });

  it('is complete when the last answer is written, not when it has come', async () => {
    const building = new SlowBuilding(2);
    const { receiver, completed } = receiving(building);
    receiver.offer(OFFER);
    await turn();
    answer(receiver, 1);
    answer(receiver, 2);
    building.written();
    await turn();
    expect(completed).toEqual([]);
    building.written();
    await turn();
    expect(completed).toEqual([100]);
  });

  it('asks once more, now and then, while an answer takes long to be taken, and drops what comes', async () => {
    const building = new SlowBuilding(1);
    const { receiver, sent, completed, world } = receiving(building);
    receiver.offer(OFFER);
    await turn();
    answer(receiver, 1);
    for (const nowMs of [2_900, 3_000, 5_900, 6_000, 60_000]) {
      world.nowMs = nowMs;
      receiver.look();
      answer(receiver, 1);
    }
    const asked = sent.map((message) => (message.kind === 'catchUpAsk' ? message.number : 0));
    expect(asked).toEqual([1, 1, 1, 1]);
    building.written();
    await turn();
    expect([completed, building.isWriting]).toEqual([[100], false]);
    world.nowMs += 60_000;
    receiver.look();
    expect(sent).toHaveLength(asked.length);
  });

  it('forgets what an attempt has left when the log has come past its checkpoint, and not before', async () => {
    const { receiver, world } = receiving(new SlowBuilding(2));
    receiver.look();
    receiver.offer(OFFER);
    await turn();
    world.has = 100;
    receiver.look();
    expect(world.forgotten).toBe(0);
    world.has = 99;
    receiver.gone({ kind: 'catchUpEnd', ...NAMES, outcome: 'gone' });
    receiver.look();
    expect(world.forgotten).toBe(0);
    world.has = 100;
    receiver.look();
    receiver.look();
    expect(world.forgotten).toBe(1);
  });
});
