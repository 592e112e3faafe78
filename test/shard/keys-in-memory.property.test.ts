/**
 * Keys in memory against the clients whose they are: sessions move between nodes, end here and
 * elsewhere, and the ends of names come to the shard as late as they like. A new message is never
 * taken for a repeat, and what is remembered has its bound, whoever answers.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { KeysInMemory } from '../../src/shard/keys-in-memory.ts';
import { fc } from '../support/properties.ts';

const SESSIONS = 4;
const PACKET_IDS = 2;
const SESSIONS_MAX = 1;
const SPARE = 1;

const NTH = fc.nat(SESSIONS - 1);
const PACKET_ID = fc.nat(PACKET_IDS - 1);

type Step =
  | { readonly kind: 'publish' | 'release'; readonly nth: number; readonly packetId: number }
  | { readonly kind: 'claim' | 'end'; readonly nth: number; readonly isHere: boolean }
  | { readonly kind: 'late'; readonly nth: number }
  | { readonly kind: 'answer'; readonly knows: boolean };

const STEPS: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constantFrom('publish' as const, 'release' as const),
        nth: NTH,
        packetId: PACKET_ID,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('claim' as const, 'claim' as const, 'claim' as const, 'end' as const),
        nth: NTH,
        isHere: fc.boolean(),
      }),
    },
    fc.record({ kind: fc.constant('late' as const), nth: fc.nat(5) }),
    fc.record({ kind: fc.constant('answer' as const), knows: fc.boolean() }),
  ),
  { minLength: 20, maxLength: 120, size: 'max' },
);

/** As its client and the shard in which it is know it. */
class Session {
  readonly #queueId: number;
  #life = 0;
  ownerEpoch = 1;
  isHere = true;
  /** Of messages that are not released. */
  readonly open = new Set<number>();

  constructor(queueId: number) {
    this.#queueId = queueId;
  }

  get name(): string {
    return `${this.#queueId}/${this.#life}`;
  }

  claim(isHere: boolean): void {
    this.ownerEpoch += 1;
    this.isHere = isHere;
  }

  /** Another life, which its owner has begun. */
  restart(isHere: boolean): void {
    this.#life += 1;
    this.open.clear();
    this.claim(isHere);
  }
}

class World {
  readonly #sessions = Array.from({ length: SESSIONS }, (_none, nth) => new Session(nth + 1));
  /** Packet ids by name. */
  readonly #shard = new Map<string, Set<number>>();
  /** Names that are to be forgotten, in any order. */
  readonly #ends: string[] = [];
  readonly #answers: ((knows: boolean) => void)[] = [];
  readonly #keys = new KeysInMemory({
    isShared: true,
    sessionsMax: SESSIONS_MAX,
    spare: SPARE,
    end: (name) => void this.#ends.push(name),
    over: (_shard, names) =>
      new Promise((resolve) => {
        const live = new Set(this.#sessions.map(({ name }) => name));
        const over = names.filter((name) => !live.has(name));
        this.#answers.push((knows) => resolve(knows ? over : []));
      }),
  });

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'publish':
        return this.#publish(this.#session(step.nth), step.packetId);
      case 'release':
        return this.#release(this.#session(step.nth), step.packetId);
      case 'claim':
        return this.#claim(this.#session(step.nth), step.isHere);
      case 'end':
        return this.#end(this.#session(step.nth), step.isHere);
      case 'late':
        for (const name of this.#ends.splice(step.nth, 1)) this.#shard.delete(name);
        return;
      case 'answer':
        this.#answers.shift()?.(step.knows);
        return turn();
    }
  }

  check(): void {
    expect(this.#keys.size).toBeLessThanOrEqual(this.#keys.limit);
  }

  #session(nth: number): Session {
    return this.#sessions[nth] as Session;
  }

  #publish({ isHere, name: session, ownerEpoch, open }: Session, packetId: number): void {
    if (!isHere) return;
    const key = this.#keys.published({ session, ownerEpoch, packetId });
    const stored = this.#shard.get(key.session) ?? new Set();
    // A repeat may be stored again; a new message must be.
    if (!open.has(packetId)) expect([...stored]).not.toContain(packetId);
    this.#shard.set(key.session, stored.add(packetId));
    open.add(packetId);
  }

  #release({ isHere, name: session, ownerEpoch, open }: Session, packetId: number): void {
    if (!open.delete(packetId) || !isHere) return;
    const key = this.#keys.released({ session, ownerEpoch, packetId });
    this.#shard.get(key.session)?.delete(packetId);
  }

  #claim(session: Session, isHere: boolean): void {
    session.claim(isHere);
    if (isHere) this.#keys.claimed(session.name, session.ownerEpoch);
  }

  #end(session: Session, isHere: boolean): void {
    const before = session.name;
    session.restart(isHere);
    if (isHere) this.#keys.ended(before);
  }
}

it('a new message is never a repeat, and no more is kept than there may be', async () => {
  await fc.assert(
    fc.asyncProperty(STEPS, async (steps) => {
      const world = new World();
      for (const step of steps) {
        await world.take(step);
        world.check();
      }
    }),
    { numRuns: 500 },
  );
});
