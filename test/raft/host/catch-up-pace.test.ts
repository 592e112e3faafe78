/** How much is read for peers that are behind, and when: beside commits, and without. */

import { describe, expect, it } from 'vitest';
import { CatchUpPace } from '../../../raft/host/catch-up-pace.ts';
import type { PeerMessage } from '#raft';
import { Hosts, TestClock } from './hosts.ts';
import type { TestHost } from './hosts.ts';

const KIB = 1024;
const RATE = 100 * KIB;
const READ = 10 * KIB;

/** Somebody who asks for the next read as soon as the one before has begun. */
class Reader {
  readonly #pace: CatchUpPace;
  readonly #asked: number;
  readonly #found: number;
  bytes = 0;

  constructor(pace: CatchUpPace, asked = READ, found = asked) {
    this.#pace = pace;
    this.#asked = asked;
    this.#found = found;
  }

  /** So many times at most, in case nothing makes it wait. */
  go(left = 1_000): void {
    if (left === 0) return;
    this.#pace.take(this.#asked, () => {
      this.bytes += this.#found;
      this.#pace.read(this.#asked, this.#found);
      this.go(left - 1);
    });
  }
}

interface Paced {
  readonly clock: TestClock;
  readonly pace: CatchUpPace;
}

function paced(bytesPerSecond = RATE): Paced {
  const clock = new TestClock();
  clock.nowMs = 5_000;
  return { clock, pace: new CatchUpPace({ clock, bytesPerSecond }) };
}

/** Time passes; in each ms so much is proposed and committed. */
function serve({ clock, pace }: Paced, ms: number, bytes = 1): void {
  for (let passed = 0; passed < ms; passed++) {
    pace.grew(bytes);
    pace.committed();
    clock.advance(1);
  }
}

describe('what is read for peers that are behind', () => {
  it('has no bound where nothing is committed', () => {
    const { pace } = paced();
    const reader = new Reader(pace);
    reader.go();
    expect(reader.bytes).toBe(1_000 * READ);
  });

  it('has none behind a single commit: one tells that this very peer has come', () => {
    const { clock, pace } = paced();
    pace.committed();
    const reader = new Reader(pace);
    reader.go();
    expect(reader.bytes).toBe(1_000 * READ);
    clock.advance(999);
    pace.committed();
    const later = new Reader(pace);
    later.go();
    expect(later.bytes).toBeLessThan(2 * RATE);
  });

  it('has none where proposals are taken and none is committed: they may wait for it', () => {
    const { clock, pace } = paced();
    for (let passed = 0; passed < 2_000; passed++) {
      pace.grew(100);
      clock.advance(1);
    }
    const reader = new Reader(pace);
    reader.go();
    expect(reader.bytes).toBe(1_000 * READ);
  });

  it('is the rate while entries are committed', () => {
    const paces = paced();
    serve(paces, 100);
    const reader = new Reader(paces.pace);
    reader.go();
    serve(paces, 10_000);
    expect(reader.bytes / (10 * RATE)).toBeGreaterThan(0.95);
    expect(reader.bytes / (10 * RATE)).toBeLessThan(1.05);
  });

  it('counts what was found, not what was asked for', () => {
    const paces = paced();
    serve(paces, 100);
    const reader = new Reader(paces.pace, READ, READ / 5);
    reader.go();
    serve(paces, 10_000);
    expect(reader.bytes / (10 * RATE)).toBeGreaterThan(0.9);
    expect(reader.bytes / (10 * RATE)).toBeLessThan(1.05);
  });

  it('is shared by all who ask, in turn', () => {
    const paces = paced();
    serve(paces, 100);
    const readers = [new Reader(paces.pace), new Reader(paces.pace), new Reader(paces.pace)];
    for (const reader of readers) reader.go();
    serve(paces, 9_000);
    const all = readers.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(all / (9 * RATE)).toBeLessThan(1.06);
    for (const { bytes } of readers) expect(bytes / (3 * RATE)).toBeGreaterThan(0.9);
  });

  it('is at least one and a half times what the log grows by', () => {
    const paces = paced();
    const growth = 4 * RATE;
    serve(paces, 2_000, growth / 1000);
    const reader = new Reader(paces.pace);
    reader.go();
    serve(paces, 2_000, growth / 1000);
    expect(reader.bytes).toBeGreaterThan(1.4 * 2 * growth);
    expect(reader.bytes).toBeLessThan(1.6 * 2 * growth);
  });

  it('has no bound again a second after the last commit, whoever waits then', () => {
    const paces = paced(KIB);
    serve(paces, 100);
    const reader = new Reader(paces.pace);
    reader.go();
    const begun = reader.bytes;
    expect(begun).toBeLessThan(3 * READ);
    paces.clock.advance(999);
    paces.clock.advance(1);
    expect(reader.bytes).toBe(1_000 * READ);
  });

  it('does not pause for longer than two seconds behind one read, however large', () => {
    const paces = paced();
    serve(paces, 100);
    const large = new Reader(paces.pace, READ, 1_000 * RATE);
    large.go(1);
    const after = new Reader(paces.pace);
    after.go();
    serve(paces, 1_900);
    expect(after.bytes).toBe(0);
    serve(paces, 200);
    expect(after.bytes).toBeGreaterThan(0);
  });

  it('does not end because one read never does', () => {
    const paces = paced();
    serve(paces, 100);
    paces.pace.take(READ, () => undefined);
    const reader = new Reader(paces.pace);
    reader.go();
    serve(paces, 10_000);
    expect(reader.bytes / (10 * RATE)).toBeGreaterThan(0.9);
  });

  it('does not pile up: after a pause of the readers they do not get what they left', () => {
    const paces = paced();
    serve(paces, 10_000);
    const reader = new Reader(paces.pace);
    reader.go();
    expect(reader.bytes).toBeLessThanOrEqual(2 * READ);
  });

  it('is nothing any more when it is closed', () => {
    const paces = paced();
    serve(paces, 100);
    const reader = new Reader(paces.pace);
    reader.go();
    const before = reader.bytes;
    paces.pace.close();
    reader.go();
    paces.clock.advance(60_000);
    expect(reader.bytes).toBe(before);
  });
});

const ENTRIES = 400;
const text = (nth: number): string => `m${nth} `.padEnd(100, 'x');

function proposeAll(leader: TestHost, count: number, first: number): number {
  let index = 0;
  for (let nth = first; nth < first + count; nth++) index = leader.propose(text(nth));
  return index;
}

interface Behind {
  readonly hosts: Hosts;
  readonly leader: TestHost;
  readonly behind: TestHost;
  /** Bytes of entries, and of answers, that were sent to it. */
  readonly sentBytes: () => number;
}

/** A follower lacks 40 KB, which its leader has on the disk alone, and gets 10 KiB a second. */
async function withOneBehind(isCompacted: boolean): Promise<Behind> {
  const limits = { tailBytes: 500, messageBytes: 1_000 };
  const hosts = new Hosts({ limits, catchUpBytesPerSecond: 10 * KIB });
  await hosts.start();
  const leader = await hosts.elect();
  const [behind] = hosts.followers as [TestHost];
  await hosts.applied(hosts.hosts, leader.propose(text(0)));
  behind.crash();
  const index = proposeAll(leader, ENTRIES, 1);
  const others = hosts.hosts.filter((host) => host !== behind);
  await hosts.applied(others, index);
  for (const host of isCompacted ? others : []) await host.compact();
  const sentBytes = (): number =>
    hosts.sent.filter(({ to }) => to === behind.id).reduce((sum, each) => sum + bytesIn(each), 0);
  // What was proposed is no growth any more, and its commits are none of now.
  for (let steps = 0; steps < 2; steps++) {
    hosts.clock.advance(2_000);
    expect(await hosts.elect()).toBe(leader);
    await hosts.applied([leader], leader.propose(''));
  }
  hosts.clock.advance(2_000);
  await hosts.elect();
  return { hosts, leader, behind, sentBytes };
}

function bytesIn(message: PeerMessage): number {
  if (message.kind === 'catchUpAnswer') return message.bytes.length;
  if (message.kind !== 'appendEntries') return 0;
  return message.entries.reduce((sum, { payload }) => sum + payload.length, 0);
}

describe.each([
  ['the log', false],
  ['a checkpoint', true],
])('a follower that catches up from %s', (_from, isCompacted) => {
  it('is served at the rate while entries are committed, and gets there', async () => {
    const { hosts, leader, behind, sentBytes } = await withOneBehind(isCompacted);
    await hosts.applied([leader], leader.propose('busy'));
    await behind.start();
    const before = sentBytes();
    for (let steps = 0; steps < 100; steps++) {
      if (steps % 10 === 0) leader.propose('busy');
      await hosts.step();
    }
    expect(sentBytes() - before).toBeGreaterThan(4 * KIB);
    expect(sentBytes() - before).toBeLessThan(20 * KIB);
    let steps = 0;
    const isThere = (): boolean => behind.applied.length > ENTRIES || behind.ends.length > 0;
    await hosts.until(() => {
      if (steps++ % 10 === 0) leader.propose('busy');
      return isThere();
    });
  });

  it('is served at once where nothing is committed', async () => {
    const { hosts, behind, sentBytes } = await withOneBehind(isCompacted);
    await behind.start();
    const before = sentBytes();
    for (let steps = 0; steps < 100; steps++) await hosts.step();
    expect(sentBytes() - before).toBeGreaterThan(37 * KIB);
  });
});

describe('a replica whose own state machine is behind', () => {
  it('gets its entries from the log at once, whatever is committed meanwhile', async () => {
    const limits = { tailBytes: 500, applyBytes: 1_000 };
    const hosts = new Hosts({ limits, catchUpBytesPerSecond: KIB });
    await hosts.start();
    const leader = await hosts.elect();
    const index = proposeAll(leader, ENTRIES, 0);
    await hosts.applied(hosts.hosts, index);
    const [follower] = hosts.followers as [TestHost];
    follower.crash();
    await follower.start();
    for (let steps = 0; steps < 150; steps++) {
      if (steps % 10 === 0) leader.propose('busy');
      await hosts.step();
    }
    expect(follower.appliedIndex).toBeGreaterThanOrEqual(index);
  });
});
