/**
 * Users and rules as they were read, together: what holds until the next reading. Never changed.
 *
 * Read as a whole or not at all: an empty file, or one with a line that is wrong, is an error and
 * no policy (S7).
 */

import { type OwnRule, type Rule, type Subject, ownRules, readRules } from './rules.ts';
import { type Users, readUsers } from './users.ts';
import type { Verifier } from './verifier.ts';

export interface PolicyFiles {
  /** Undefined: nobody has a password. */
  readonly users: string | undefined;
  readonly rules: string;
}

/** What is known of a client. */
export interface Identity {
  readonly user?: string | undefined;
  readonly clientId: string;
}

const NO_GROUPS: ReadonlySet<string> = new Set();

export class Policy {
  readonly users: Users;
  readonly rules: readonly Rule[];
  /** Of all users with a password. */
  readonly verifiers: readonly Verifier[];

  constructor(users: Users, rules: readonly Rule[]) {
    this.users = users;
    this.rules = rules;
    this.verifiers = [...users.values()].flatMap(({ password }) => password ?? []);
  }

  /** Rejects with an `AccessFileError`. */
  static async read({ users: usersPath, rules: rulesPath }: PolicyFiles): Promise<Policy> {
    const users: Users = usersPath === undefined ? new Map() : await readUsers(usersPath);
    return new Policy(users, await readRules(rulesPath));
  }

  subject({ user, clientId }: Identity): Subject {
    const groups = user === undefined ? undefined : this.users.get(user)?.groups;
    return { user, clientId, groups: groups ?? NO_GROUPS };
  }

  rulesOf(identity: Identity): OwnRule[] {
    return ownRules(this.rules, this.subject(identity));
  }
}
