/** The leader's end of a transfer whose answers wait for the pace. */

import { describe, expect, it } from 'vitest';
import { CatchUpPace } from '../../../raft/host/catch-up-pace.ts';
import { CatchUpSender } from '../../../raft/host/catch-up-sender.ts';
import { CATCH_UP_LIMITS } from '#raft';
import type { CatchUpMessage, CatchUpReading } from '#raft';
import { bytes, checksumOf, TestClock } from './hosts.ts';

const TERM = 3;
const SESSION = 1;
const CONFIGURATION = { index: 0, configuration: { members: [] } };
const TRANSFER = { from: 'b', to: 'a', session: SESSION, term: TERM, transfer: 1 } as const;
const ASK = { ...TRANSFER, kind: 'catchUpAsk' } as const;
/** An answer takes all of it for a second. */
const RATE = CATCH_UP_LIMITS.answerBytes;

class Sending {
  readonly clock = new TestClock();
  readonly pace = new CatchUpPace({ clock: this.clock, bytesPerSecond: RATE });
  readonly sent: CatchUpMessage[] = [];
  readonly sender: CatchUpSender;
  read: string[] = [];
  hasRoom = true;

  constructor() {
    this.sender = new CatchUpSender({
      id: 'a',
      source: { open: () => Promise.resolve(this.#reading()) },
      pace: this.pace,
      checksum: checksumOf,
      monotonicMs: () => this.clock.monotonicMs(),
      send: (message) => void this.sent.push(message),
      hasRoom: () => this.hasRoom,
      ended: () => undefined,
    });
  }

  #reading(): CatchUpReading {
    return {
      checkpoint: { index: 9, term: 2, configuration: CONFIGURATION },
      summary: bytes('all'),
      answer: (question) => {
        this.read.push(new TextDecoder().decode(question));
        return Promise.resolve(new Uint8Array(CATCH_UP_LIMITS.answerBytes));
      },
      close: () => undefined,
    };
  }

  /** To b; returns when it has been offered. */
  async begin(): Promise<void> {
    this.sender.begin({ to: 'b', session: SESSION, least: 0 }, TERM);
    await settled();
    expect(this.sent).toMatchObject([{ kind: 'catchUpOffer', transfer: 1 }]);
  }

  ask(number: number): void {
    this.sender.ask({ ...ASK, number, question: bytes(`q${number}`) });
  }

  /** Entries are committed meanwhile. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) {
      this.pace.committed();
      this.clock.advance(10);
      await settled();
    }
  }

  get answered(): number[] {
    return this.sent.flatMap((message) =>
      message.kind === 'catchUpAnswer' ? [message.number] : [],
    );
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

async function begun(): Promise<Sending> {
  const sending = new Sending();
  await sending.pass(10);
  await sending.begin();
  return sending;
}

describe('answers of a transfer while entries are committed', () => {
  it('come one by one, as the pace lets them', async () => {
    const sending = await begun();
    for (const number of [1, 2, 3]) sending.ask(number);
    await sending.pass(500);
    expect(sending.answered).toEqual([1]);
    await sending.pass(1_000);
    expect(sending.answered).toEqual([1, 2]);
    await sending.pass(1_000);
    expect(sending.answered).toEqual([1, 2, 3]);
  });

  it('are read once, though the peer asks again while they wait', async () => {
    const sending = await begun();
    for (const number of [1, 2, 1, 3, 2]) sending.ask(number);
    await sending.pass(1_200);
    for (const number of [2, 3, 3]) sending.ask(number);
    await sending.pass(4_000);
    expect(sending.read.slice(0, 3)).toEqual(['q1', 'q2', 'q3']);
    // What was answered already may have been lost: it is read again.
    expect(sending.read.slice(3)).toEqual(['q2']);
  });

  it('are not read for a transfer that has ended, and cost nobody else anything', async () => {
    const sending = await begun();
    for (const number of [1, 2]) sending.ask(number);
    await sending.pass(10);
    sending.sender.end({ ...TRANSFER, kind: 'catchUpEnd', outcome: 'refused' });
    let next = false;
    sending.pace.take(1, () => {
      next = true;
    });
    await sending.pass(1_100);
    expect(sending.read).toEqual(['q1']);
    expect(next).toBe(true);
  });

  it('wait for room, where the channel became full while they waited for the pace', async () => {
    const sending = await begun();
    for (const number of [1, 2]) sending.ask(number);
    await sending.pass(10);
    sending.hasRoom = false;
    await sending.pass(2_000);
    expect(sending.read).toEqual(['q1']);
    sending.hasRoom = true;
    sending.sender.room('b');
    await sending.pass(1_100);
    expect(sending.answered).toEqual([1, 2]);
  });
});

describe('the log behind a checkpoint', () => {
  it('is held for a transfer until it is too long for all', async () => {
    const { sender, sent } = await begun();
    sender.release(10, 'current');
    expect(sender.heldBehind).toBe(9);
    sender.release(11, 'current');
    expect(sender.heldBehind).toBe(Number.POSITIVE_INFINITY);
    expect(sent.at(-1)).toMatchObject({ kind: 'catchUpEnd', outcome: 'gone' });
  });

  it('is held for a peer that has made it current until it is too long for anybody', async () => {
    const { sender } = await begun();
    sender.end({ ...TRANSFER, kind: 'catchUpEnd', outcome: 'current' });
    sender.release(11, 'current');
    expect(sender.heldBehind).toBe(9);
    sender.release(10, 'nobody');
    expect(sender.heldBehind).toBe(9);
    sender.release(11, 'nobody');
    expect(sender.heldBehind).toBe(Number.POSITIVE_INFINITY);
  });
});
