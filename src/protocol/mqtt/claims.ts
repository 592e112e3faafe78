/**
 * What a CONNECT asks of the store of durable sessions before it is answered, one after the other
 * for each client id: of several that come at once the last one wins, and those before it are told
 * so at once.
 *
 * A session that outlives its connection is claimed. For one that does not, what is stored of its
 * client ends (clean start), or is claimed for a last time, if there is anything.
 */

import {
  type Broker,
  type ClaimedSession,
  SessionError,
  type SessionLimits,
  type SessionRefusal,
  type SessionWill,
  type StoredSubscription,
} from '../../broker/ports.ts';
import { routedSubscription } from './stored-subscriptions.ts';

export interface ClaimWish {
  readonly clientId: string;
  /** '': it did not say who it is. Undefined: there are no users. */
  readonly claimant: string | undefined;
  /** Whether its user may have what comes by these; where not, the session begins anew. */
  readonly mayResume: (subscriptions: readonly StoredSubscription[]) => boolean;
  readonly cleanStart: boolean;
  readonly expirySeconds: number;
  readonly will: SessionWill | undefined;
}

/** `superseded`: another CONNECT with the client id came before this one was answered. */
export type ClaimRefusal = SessionRefusal | 'superseded';

/** Undefined: nothing is stored of it, and nothing is to be. */
export type Claim = ClaimedSession | ClaimRefusal | undefined;

interface Arrival {
  readonly wish: ClaimWish;
  /** Once. */
  readonly answer: (claim: Claim) => void;
  /** It is claimed for nobody, and given back. */
  readonly passed: (claimed: ClaimedSession) => void;
}

interface UnderWay {
  current: Arrival;
  next: Arrival | undefined;
}

export class Claims {
  readonly #broker: Broker;
  readonly #limits: SessionLimits;
  readonly #underWay = new Map<string, UnderWay>();

  constructor(broker: Broker, limits: SessionLimits) {
    this.#broker = broker;
    this.#limits = limits;
  }

  isUnderWay(clientId: string): boolean {
    return this.#underWay.has(clientId);
  }

  /** `answer` comes later, once; never rejects. */
  claim(wish: ClaimWish, answer: Arrival['answer'], passed: Arrival['passed']): void {
    const arrival = { wish, answer, passed };
    const underWay = this.#underWay.get(wish.clientId);
    if (underWay === undefined) {
      void this.#run({ current: arrival, next: undefined });
      return;
    }
    // Nobody ends what another user begins.
    if (underWay.current.wish.claimant !== wish.claimant) {
      answer('other-user');
      return;
    }
    (underWay.next ?? underWay.current).answer('superseded');
    underWay.next = arrival;
  }

  async #run(underWay: UnderWay): Promise<void> {
    const { clientId } = underWay.current.wish;
    this.#underWay.set(clientId, underWay);
    for (;;) {
      const claim = await this.#ask(underWay.current.wish);
      const { current, next } = underWay;
      if (next === undefined) {
        this.#underWay.delete(clientId);
        current.answer(claim);
        return;
      }
      if (typeof claim === 'object') this.#giveBack(current, claim);
      underWay.current = next;
      underWay.next = undefined;
    }
  }

  #giveBack({ wish, passed }: Arrival, claimed: ClaimedSession): void {
    passed(claimed);
    // The next one claims it, or nobody does, and then it ends in its time.
    const leaving = { expirySeconds: wish.expirySeconds, isInPeace: true };
    this.#broker.sessions.leave(claimed.handle, leaving).catch(() => undefined);
  }

  async #ask(wish: ClaimWish): Promise<Claim> {
    const { clientId, claimant: user, cleanStart, expirySeconds, mayResume, will } = wish;
    const { sessions } = this.#broker;
    try {
      if (expirySeconds === 0) {
        if (cleanStart) {
          await sessions.discard(clientId, user);
          return undefined;
        }
        const stored = await this.#isStored(clientId);
        if (stored !== true) return stored === false ? undefined : stored;
      }
      const request = { clientId, user, cleanStart, expirySeconds, limits: this.#limits, will };
      const claimed = await sessions.claim(request);
      if (!claimed.present) return claimed;
      if (mayResume(claimed.subscriptions)) return await this.#routed(claimed);
      // Or the claim that follows would find the will of one that is lost.
      await sessions.leave(claimed.handle, { expirySeconds, isInPeace: true });
      return await sessions.claim({ ...request, cleanStart: true });
    } catch (error) {
      if (error instanceof SessionError) return error.code;
      throw error;
    }
  }

  /** What an earlier version stored of shares is told to all nodes from now on. */
  async #routed(claimed: ClaimedSession): Promise<ClaimedSession> {
    const subscriptions = claimed.subscriptions.map(routedSubscription);
    const subscribe = subscriptions.filter((each, at) => each !== claimed.subscriptions[at]);
    if (subscribe.length === 0) return claimed;
    await this.#broker.sessions.change(claimed.handle, { subscribe, unsubscribe: [] });
    return { ...claimed, subscriptions };
  }

  async #isStored(clientId: string): Promise<boolean | 'unavailable'> {
    const name = this.#broker.sessions.queueNameOf(clientId);
    if (this.#broker.queue(name) !== undefined) return true;
    const found = await this.#broker.findQueue(name);
    return found === 'unavailable' ? found : found !== undefined;
  }
}
