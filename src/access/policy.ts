/**
 * Users and rules as they were read, together: what holds until the next reading. Never changed.
 *
 * Read as a whole or not at all: an empty file, or one with a line that is wrong, is an error and
 * no policy (S7).
 */

import { type CalloutFiles, type CalloutSecrets, readCalloutSecrets } from './callout.ts';
import { type OwnRule, type Rule, type Subject, ownRules, readRules } from './rules.ts';
import { type TokenKeyFile, type TokenKeys, readTokenKeys } from './token-keys.ts';
import type { ScramShare } from './scram-decoys.ts';
import { type Users, type UsersFile, readUsers } from './users.ts';
import type { Verifier } from './verifier.ts';

export interface PolicyFiles {
  /** Undefined: nobody has a password. */
  readonly users: string | undefined;
  readonly rules: string;
  /** Undefined: there are no tokens. */
  readonly tokenKeys?: TokenKeyFile | undefined;
  /** Undefined: no service is asked. */
  readonly callout?: CalloutFiles | undefined;
}

/** What is known of a client. */
export interface Identity {
  readonly user?: string | undefined;
  readonly clientId: string;
  /** What its token or a service says beside the files. */
  readonly granted?: Granted | undefined;
}

export interface Granted {
  readonly groups: ReadonlySet<string>;
  /** Asked behind those of the file. */
  readonly rules: readonly Rule[];
}

const NO_USERS: UsersFile = { users: new Map(), decoyKey: undefined, scramShares: [] };
const NO_GROUPS: ReadonlySet<string> = new Set();

export class Policy {
  readonly users: Users;
  readonly rules: readonly Rule[];
  /** Of all users with a password. */
  readonly verifiers: readonly Verifier[];

  /** What the users file has for exchanges of SCRAM beside its users. */
  readonly decoyKey: Buffer | undefined;
  readonly scramShares: readonly ScramShare[];

  /** Undefined: there are no tokens. */
  readonly tokenKeys: TokenKeys | undefined;

  /** Undefined: no service is asked. */
  readonly calloutSecrets: CalloutSecrets | undefined;

  constructor(
    { users, decoyKey, scramShares }: UsersFile,
    rules: readonly Rule[],
    others: { readonly tokenKeys?: TokenKeys; readonly calloutSecrets?: CalloutSecrets } = {},
  ) {
    this.users = users;
    this.decoyKey = decoyKey;
    this.scramShares = scramShares;
    this.rules = rules;
    this.tokenKeys = others.tokenKeys;
    this.calloutSecrets = others.calloutSecrets;
    this.verifiers = [...users.values()].flatMap(({ password }) => password ?? []);
  }

  /** Rejects with an `AccessFileError`. */
  static async read({ users: usersPath, ...files }: PolicyFiles): Promise<Policy> {
    const users = usersPath === undefined ? NO_USERS : await readUsers(usersPath);
    const rules = await readRules(files.rules);
    const { tokenKeys, callout } = files;
    return new Policy(users, rules, {
      ...(tokenKeys !== undefined && { tokenKeys: await readTokenKeys(tokenKeys) }),
      ...(callout !== undefined && { calloutSecrets: await readCalloutSecrets(callout) }),
    });
  }

  subject({ user, clientId, granted }: Identity): Subject {
    const own = user === undefined ? undefined : this.users.get(user)?.groups;
    if (granted === undefined) return { user, clientId, groups: own ?? NO_GROUPS };
    const groups = own === undefined ? granted.groups : new Set([...own, ...granted.groups]);
    return { user, clientId, groups };
  }

  rulesOf(identity: Identity): OwnRule[] {
    const subject = this.subject(identity);
    const own = ownRules(this.rules, subject);
    const { granted } = identity;
    if (granted !== undefined) own.push(...ownRules(granted.rules, subject));
    return own;
  }
}
