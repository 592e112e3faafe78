/**
 * JSON web tokens (RFC 7519) in place of a password: who somebody is, until when, and what he may
 * do beside the rules of the file.
 *
 * The algorithms are those of the configuration, never those that a token would like (RFC 8725);
 * `exp` must be there. A token is never logged; why one is refused is counted, and the client is
 * not told. What takes the form of a token is judged as one and as nothing else.
 */

import { errors, type JWTPayload, jwtVerify } from 'jose';
import { Gate, type GateLimits } from './gate.ts';
import { parsePattern } from './pattern.ts';
import type { Rule } from './rules.ts';
import type { TokenKeys } from './token-keys.ts';
import { groupsProblem, userNameProblem } from './users.ts';

export interface TokenSettings {
  /** Where a CONNECT has the token. */
  readonly from: 'password' | 'user_name';
  /** A user name beside the token has to be that of the token. */
  readonly checkUserName: boolean;
  readonly algorithms: readonly string[];
  /** Undefined: not asked for. */
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  readonly userClaim: string;
  /** Undefined: tokens give no groups. */
  readonly groupsClaim: string | undefined;
  /** Undefined: tokens give no rights. */
  readonly rightsClaim: string | undefined;
  /** By which clocks may differ; so much later than `exp` a token ends. */
  readonly toleranceMs: number;
}

/** What a good token says. */
export interface Token {
  readonly user: string;
  readonly groups: ReadonlySet<string>;
  /** They allow, and come behind the rules of the file. */
  readonly rules: readonly Rule[];
  /** Milliseconds of the wall clock, with the tolerance. */
  readonly endsAtMs: number;
  readonly keyId: string;
}

/** Why a token is refused. Closed. */
export const TOKEN_REFUSALS = ['form', 'algorithm', 'key', 'signature', 'time', 'claim'] as const;
export type TokenRefusal = (typeof TOKEN_REFUSALS)[number];

/** Characters of a token; a longer one is not looked at. */
const TOKEN_LENGTH_MAX = 8192;
const RIGHTS_MAX = 100;
const TOKEN_FORM = /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/;
const RIGHTS_ACTIONS = ['publish', 'subscribe', 'consume', 'declare'] as const;

/** Whether it looks like one, good or not. */
export function isToken(text: string): boolean {
  return text.startsWith('eyJ') && TOKEN_FORM.test(text);
}

export class Tokens {
  readonly settings: TokenSettings;
  readonly #gate: Gate;
  readonly refused = Object.fromEntries(TOKEN_REFUSALS.map((why) => [why, 0])) as Record<
    TokenRefusal,
    number
  >;

  constructor(settings: TokenSettings, limits: GateLimits) {
    this.settings = settings;
    this.#gate = new Gate(limits);
  }

  get waiting(): number {
    return this.#gate.waiting;
  }

  /** `nowMs`: of the wall clock. Never rejects. */
  async judge(
    text: string,
    keys: TokenKeys,
    { nowMs, isGone }: { readonly nowMs: number; readonly isGone: () => boolean },
  ): Promise<Token | 'wrong' | 'busy'> {
    if (text.length > TOKEN_LENGTH_MAX) return this.#refuse('form');
    if (!(await this.#gate.enter())) return 'busy';
    try {
      if (isGone()) return 'busy';
      const token = await verified(text, keys, { settings: this.settings, nowMs });
      return typeof token === 'string' ? this.#refuse(token) : token;
    } finally {
      this.#gate.leave();
    }
  }

  #refuse(why: TokenRefusal): 'wrong' {
    this.refused[why]++;
    return 'wrong';
  }
}

async function verified(
  text: string,
  keys: TokenKeys,
  { settings, nowMs }: { readonly settings: TokenSettings; readonly nowMs: number },
): Promise<Token | TokenRefusal> {
  const { algorithms, issuer, audience, toleranceMs } = settings;
  try {
    const { payload, key } = await jwtVerify(text, keys.find, {
      algorithms: [...algorithms],
      clockTolerance: toleranceMs / 1000,
      currentDate: new Date(nowMs),
      requiredClaims: ['exp'],
      ...(issuer !== undefined && { issuer }),
      ...(audience !== undefined && { audience }),
    });
    const keyId = keys.idOf(key as Parameters<TokenKeys['idOf']>[0]);
    return said(payload, settings, keyId) ?? 'claim';
  } catch (error) {
    return refusalOf(error);
  }
}

function refusalOf(error: unknown): TokenRefusal {
  if (error instanceof errors.JWTExpired) return 'time';
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'nbf' ? 'time' : 'claim';
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm';
  if (error instanceof errors.JWKSNoMatchingKey) return 'key';
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'key';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature';
  // A key of another type than the algorithm needs.
  if (error instanceof TypeError) return 'key';
  return 'form';
}

/** Undefined: a claim is not there, or is not what it has to be. */
function said(payload: JWTPayload, settings: TokenSettings, keyId: string): Token | undefined {
  const { userClaim, groupsClaim, rightsClaim, toleranceMs } = settings;
  const user = claimOf(payload, userClaim);
  if (typeof user !== 'string' || userNameProblem(user) !== undefined) return undefined;
  const groups = groupsOf(groupsClaim === undefined ? undefined : claimOf(payload, groupsClaim));
  const rules = rulesOf(rightsClaim === undefined ? undefined : claimOf(payload, rightsClaim));
  if (groups === undefined || rules === undefined) return undefined;
  const { exp = 0 } = payload;
  return { user, groups, rules, endsAtMs: exp * 1000 + toleranceMs, keyId };
}

/** By its whole name, or as a path with dots: `realm_access.roles`. */
function claimOf(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let at: unknown = payload;
  for (const part of name.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<string, unknown>)[part];
  }
  return at;
}

function textsOf(claim: unknown): readonly string[] | undefined {
  const isGood = Array.isArray(claim) && claim.every((each) => typeof each === 'string');
  return isGood ? claim : undefined;
}

function groupsOf(claim: unknown): ReadonlySet<string> | undefined {
  const names = claim === undefined ? [] : textsOf(claim);
  return names === undefined || groupsProblem(names) !== undefined ? undefined : new Set(names);
}

/** `{ "publish": [pattern...], "subscribe": [...], "consume": [...], "declare": [...] }` */
function rulesOf(claim: unknown): Rule[] | undefined {
  if (claim === undefined) return [];
  if (typeof claim !== 'object' || claim === null || Array.isArray(claim)) return undefined;
  const rules: Rule[] = [];
  let count = 0;
  for (const [action, written] of Object.entries(claim)) {
    const texts = textsOf(written);
    if (texts === undefined || !RIGHTS_ACTIONS.some((each) => each === action)) return undefined;
    count += texts.length;
    if (count > RIGHTS_MAX) return undefined;
    const patterns = texts.flatMap((text) => parsePattern(text) ?? []);
    if (patterns.length < texts.length) return undefined;
    const shown = `allow ${action} of the token`;
    const actions = new Set([action]);
    rules.push({ line: 0, written: shown, allow: true, who: [], actions, patterns });
  }
  return rules;
}
