/**
 * What a protocol asks of those who decide who is let in and what he may do. A node without users
 * has none: then whoever reaches a door may do everything.
 */

export type Action = 'publish' | 'subscribe' | 'consume' | 'declare';

/** What a service may be asked about. */
export interface Asked {
  readonly action: Exclude<Action, 'declare'>;
  /** As of `may`. */
  readonly topic: string;
}

/** Who a client says it is. */
export interface Claim {
  readonly user: string | undefined;
  /** Looked at before the answer is there, and not after. */
  readonly password: Uint8Array | undefined;
  /** The name of a certificate that was found good. */
  readonly certificate: string | undefined;
  readonly clientId: string;
  /** Nobody waits for the answer any more: it need not be found. */
  readonly isGone: () => boolean;
}

/** What a client may do, by the rules that hold when it asks. */
export interface AccessRights {
  /** Undefined: it did not say who it is. */
  readonly user: string | undefined;
  /** It would not be let in as it was: its user is gone, or by what it proved to be him. */
  readonly isRevoked: boolean;
  /** It was let in for a time, and that is over. */
  readonly hasEnded: boolean;
  /**
   * A denial is counted and told. `topic` may be a filter of `subscribe`; of `consume` and
   * `declare` it is `$queue/<name>`.
   */
  may(action: Action, topic: string): boolean;
  /** Whether what was allowed may stay: without a word. */
  allows(action: Action, topic: string): boolean;
  /**
   * A service decides what no rule does. Then, before `may` is asked about a packet: `forget`, then
   * `knows` for each thing that it is about, and `ask` about what is not known.
   */
  readonly asks: boolean;
  forget(): void;
  /** `may` needs no answer to it; of `consume` as of `may`. */
  knows(action: Asked['action'], topic: string): boolean;
  /** Resolves when all are answered, or one is not. Never rejects. */
  ask(questions: readonly Asked[], isGone: () => boolean): Promise<void>;
  /** The last `may` denied what nobody answered: to try again may help. */
  readonly isUnanswered: boolean;
}

export type Admission =
  | { readonly rights: AccessRights }
  | { readonly refused: 'bad-credentials' | 'not-authorized' | 'busy' };

/** What one message of an exchange came to: a question to the client, or the end of it. */
export type ExchangeStep =
  | { readonly ask: Uint8Array }
  /** `data` is the last word of the server: by it the client knows the server. */
  | { readonly rights: AccessRights; readonly data: Uint8Array }
  | { readonly refused: 'bad-credentials' | 'malformed' | 'channel-binding' };

/** An exchange of a method of authentication (RFC 4422), on the side of the server. */
export interface Exchange {
  /** What the client says next: its bytes are looked at during the call. None after an end. */
  next(data: Uint8Array): ExchangeStep;
}

export interface AccessControl {
  /** Goes up with each change of the rules. */
  readonly version: number;
  /** At once, unless something must be computed or asked. Never rejects. */
  admit(claim: Claim): Admission | Promise<Admission>;
  /** Of a client that names a method in place of a password; undefined: there is no such method. */
  exchange(
    method: string,
    claim: Pick<Claim, 'user' | 'certificate' | 'clientId'>,
  ): Exchange | undefined;
  /** Hears that other rules hold. */
  onChange(listener: () => void): void;
}
