/**
 * A question to another service over HTTP: JSON there, `{"result": "allow" | "deny" | "ignore"}`
 * back (docs/access.md). Whatever else comes back, or nothing in time, is a failure, and a failure
 * allows nothing (O4).
 *
 * So many questions are under way, so many wait, each for a bounded time and with an answer of
 * bounded length. Nothing of a question or a secret is logged. HTTP itself is outside (`Post`).
 */

import { Circuit, type CircuitLimits } from './circuit.ts';
import { Gate, type GateLimits } from './gate.ts';
import { type AccessFile, AccessFileError, readText } from './lines.ts';
import { groupsProblem } from './users.ts';

export interface CalloutSettings extends GateLimits, CircuitLimits {
  readonly url: URL;
  /** Of one question, from its sending to the end of the answer. */
  readonly timeoutMs: number;
  readonly post: Post;
}

export interface PostWay {
  readonly url: URL;
  readonly timeoutMs: number;
  readonly secrets: CalloutSecrets;
  /** A longer answer is an error. */
  readonly maxBytes: number;
}

/** Sends a JSON text; the answer is that of a status 200. Never rejects. */
export type Post = (
  body: string,
  way: PostWay,
) => Promise<{ readonly text: string } | 'error' | 'timeout'>;

export interface CalloutFiles {
  /** In PEM; undefined: the authorities of Node.js. */
  readonly ca: string | undefined;
  /** A secret that is shown as a bearer token (RFC 6750 2.1). */
  readonly bearer: string | undefined;
}

/** What is in the files. */
export interface CalloutSecrets {
  readonly ca: string | undefined;
  readonly bearer: string | undefined;
}

export type CalloutAnswer =
  | { readonly result: 'allow'; readonly groups: ReadonlySet<string> }
  | { readonly result: 'deny' | 'ignore' };

/** What became of questions. Closed. */
export const CALLOUT_OUTCOMES = [
  'allow',
  'deny',
  'ignore',
  /** No connection, another status than 200, no answer that is understood. */
  'error',
  'timeout',
  /** Too many wait. */
  'busy',
  /** The service failed too often, and was not asked. */
  'open',
] as const;
export type CalloutOutcome = (typeof CALLOUT_OUTCOMES)[number];

const ANSWER_BYTES_MAX = 16 * 1024;
const FILE_BYTES_MAX = 1024 * 1024;

/** Rejects with an `AccessFileError`. */
export async function readCalloutSecrets({ ca, bearer }: CalloutFiles): Promise<CalloutSecrets> {
  return {
    ca: ca === undefined ? undefined : await readAuthorities(fileOf('ca_file', ca)),
    bearer: bearer === undefined ? undefined : await readBearer(fileOf('bearer_file', bearer)),
  };
}

function fileOf(name: string, path: string): AccessFile {
  return { key: `access.callout.${name}`, path, maxBytes: FILE_BYTES_MAX };
}

async function readAuthorities(file: AccessFile): Promise<string> {
  const text = await readText(file);
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new AccessFileError(file, 'has no certificate in PEM');
  }
  return text;
}

async function readBearer(file: AccessFile): Promise<string> {
  const secret = (await readText(file)).replace(/\r?\n$/, '');
  if (/^[\x21-\x7e]+$/.test(secret)) return secret;
  throw new AccessFileError(file, 'is not one word of ASCII characters');
}

export class Callout {
  readonly counters = Object.fromEntries(CALLOUT_OUTCOMES.map((each) => [each, 0])) as Record<
    CalloutOutcome,
    number
  >;
  readonly #settings: CalloutSettings;
  readonly #gate: Gate;
  readonly #circuit: Circuit;

  constructor(settings: CalloutSettings, now: () => number) {
    this.#settings = settings;
    this.#gate = new Gate(settings);
    this.#circuit = new Circuit(settings, now);
  }

  get waiting(): number {
    return this.#gate.waiting;
  }

  /** Never rejects. */
  async ask(
    body: unknown,
    secrets: CalloutSecrets,
    isGone: () => boolean,
  ): Promise<CalloutAnswer | 'failed'> {
    if (!(await this.#gate.enter())) return this.#failed('busy');
    try {
      if (isGone()) return 'failed';
      // Behind the wait: who waited for a service that failed meanwhile is told at once.
      if (!this.#circuit.enter()) return this.#failed('open');
      const { url, timeoutMs, post } = this.#settings;
      const maxBytes = ANSWER_BYTES_MAX;
      const posted = await post(JSON.stringify(body), { url, timeoutMs, secrets, maxBytes });
      const answer = typeof posted === 'string' ? posted : parseAnswer(posted.text);
      if (answer === undefined || typeof answer === 'string') {
        this.#circuit.failed();
        return this.#failed(answer ?? 'error');
      }
      this.#circuit.succeeded();
      this.counters[answer.result]++;
      return answer;
    } finally {
      this.#gate.leave();
    }
  }

  #failed(outcome: CalloutOutcome): 'failed' {
    this.counters[outcome]++;
    return 'failed';
  }
}

function parseAnswer(text: string): CalloutAnswer | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof answer !== 'object' || answer === null || !('result' in answer)) return undefined;
  const { result } = answer;
  if (result === 'deny' || result === 'ignore') return { result };
  if (result !== 'allow') return undefined;
  const groups = 'groups' in answer ? answer.groups : [];
  if (!Array.isArray(groups) || !groups.every((each) => typeof each === 'string')) return undefined;
  return groupsProblem(groups) === undefined ? { result, groups: new Set(groups) } : undefined;
}
