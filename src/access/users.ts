/**
 * The users file: a line for each user (docs/access.md).
 *
 *     NAME   [scrypt:...]   [scram-sha-256:...]   [groups:ops,night]
 *     %decoys   KEY
 *
 * A user without a password comes in with a certificate only. `%decoys` is no user: what SCRAM
 * shows of those who are not there comes from its key. What a line holds is never told in an error.
 * Nothing here writes: `fluxmq user` does, through `editedUsers`.
 */

import {
  type AccessFile,
  AccessFileError,
  eachLine,
  readText,
  wordsOf,
  writeWord,
} from './lines.ts';
import { NAME_LENGTH_MAX, prepareStored } from './saslprep.ts';
import { type ScramShare, ScramShares } from './scram-decoys.ts';
import { SCRAM_PREFIX, type ScramKeys, bytesOf, parseScramKeys } from './scram-keys.ts';
import { type Verifier, parseVerifier } from './verifier.ts';

export interface User {
  readonly name: string;
  /** Undefined: no password in CONNECT lets it in. */
  readonly password: Verifier | undefined;
  /** Undefined: it does not come in by SCRAM. */
  readonly scram?: ScramKeys | undefined;
  readonly groups: ReadonlySet<string>;
}

export type Users = ReadonlyMap<string, User>;

export interface UsersFile {
  readonly users: Users;
  /** Undefined: the file has none. */
  readonly decoyKey: Buffer | undefined;
  /** What SCRAM tells of those who have keys of it. */
  readonly scramShares: readonly ScramShare[];
}

/** The first word of the line that is no user. */
const DECOYS = '%decoys';
export const DECOY_KEY_BYTES = 32;

const USERS_BYTES_MAX = 64 * 1024 * 1024;
const USERS_MAX = 200_000;
const GROUPS_MAX = 64;

/** As it stands there. Rejects with an `AccessFileError`. */
export function readUsersText(path: string): Promise<string> {
  return readText(usersFile(path));
}

function usersFile(path: string): AccessFile {
  return { key: 'access.users_file', path, maxBytes: USERS_BYTES_MAX };
}

/** Rejects with an `AccessFileError`. */
export async function readUsers(path: string): Promise<UsersFile> {
  const file = usersFile(path);
  const users = new Map<string, User>();
  const shares = new ScramShares();
  let decoyKey: Buffer | undefined;
  await eachLine(file, await readText(file), ({ number, words }) => {
    const refuse = (text: string): never => {
      throw new AccessFileError(file, text, { line: number });
    };
    if (words[0] === DECOYS) {
      if (decoyKey !== undefined) refuse('the key of decoys is there twice');
      decoyKey = parseDecoyKey(words) ?? refuse('behind %decoys stand 32 bytes in base64');
      return;
    }
    const user = parseUser(words);
    if (typeof user === 'string') return refuse(user);
    if (users.has(user.name)) refuse('the user is there twice');
    if (users.size === USERS_MAX) refuse(`more than ${USERS_MAX} users`);
    if (user.scram !== undefined) shares.count(user.scram);
    users.set(user.name, user);
  });
  if (users.size === 0) throw new AccessFileError(file, 'has no user: nobody could come in');
  return { users, decoyKey, scramShares: shares.all() };
}

function parseDecoyKey([, word = '', ...more]: readonly string[]): Buffer | undefined {
  const key = bytesOf(word);
  return key?.length === DECOY_KEY_BYTES && more.length === 0 ? key : undefined;
}

/** A sentence for whoever wrote it where it is no user. */
function parseUser(words: readonly string[]): User | string {
  const [name = '', ...fields] = words;
  const problem = userNameProblem(name);
  if (problem !== undefined) return problem;
  let password: Verifier | undefined;
  let scram: ScramKeys | undefined;
  let groups: ReadonlySet<string> | undefined;
  for (const field of fields) {
    if (field.startsWith('scrypt:') && password === undefined) {
      password = parseVerifier(field);
      if (password === undefined) return 'the password is no scrypt word, or costs too much';
    } else if (field.startsWith(SCRAM_PREFIX) && scram === undefined) {
      scram = parseScramKeys(field);
      if (scram === undefined) return 'the word of SCRAM is none, or out of its range';
      const wrong = scramNameProblem(name);
      if (wrong !== undefined) return wrong;
    } else if (field.startsWith('groups:') && groups === undefined) {
      const names = field.slice('groups:'.length).split(',');
      const wrong = groupsProblem(names);
      if (wrong !== undefined) return wrong;
      groups = new Set(names);
    } else {
      return 'behind the name stand scrypt:..., scram-sha-256:... and groups:..., each once';
    }
  }
  return { name, password, scram, groups: groups ?? new Set() };
}

/** What is wrong with it, in words. */
export function userNameProblem(name: string): string | undefined {
  if (name === '' || name.length > NAME_LENGTH_MAX || /[\p{C}\uFFFD]/u.test(name)) {
    return `a user name has 1 to ${NAME_LENGTH_MAX} printable characters`;
  }
  return name === DECOYS ? `${DECOYS} is the word of another line` : undefined;
}

/** Why SCRAM would never find it, in words: it looks for the form of SASLprep (RFC 4013). */
export function scramNameProblem(name: string): string | undefined {
  if (prepareStored(name) === name) return undefined;
  return 'the user name is not as SASLprep has it: it cannot be used with SCRAM';
}

/** What is wrong with them, in words. */
export function groupsProblem(names: readonly string[]): string | undefined {
  if (names.length > GROUPS_MAX) return `a user has at most ${GROUPS_MAX} groups`;
  const isGood = names.every((name) => /^[\w.@-]{1,64}$/.test(name));
  return isGood ? undefined : 'a group has 1 to 64 of the characters A-Z a-z 0-9 _ . @ -';
}

export function writeUser({ name, password, scram, groups }: User): string {
  const fields = [
    ...(password === undefined ? [] : [password.word]),
    ...(scram === undefined ? [] : [scram.word]),
    ...(groups.size === 0 ? [] : [`groups:${[...groups].join(',')}`]),
  ];
  return [writeWord(name), ...fields].join('  ');
}

/** The text with a key of decoys, where it has none: in its first line. */
export function withDecoys(text: string, key: Buffer): string {
  const isThere = text.split('\n').some((line) => wordsOf(line.trim())?.[0] === DECOYS);
  return isThere ? text : `${DECOYS}  ${key.toString('base64')}\n${text}`;
}

/** The text with the line of `name` replaced (undefined: removed), or added; all else as it was. */
export function editedUsers(text: string, name: string, user: User | undefined): string {
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n');
  const at = lines.findIndex((line) => {
    const written = line.trim();
    return written !== '' && !written.startsWith('#') && wordsOf(written)?.[0] === name;
  });
  const written = user === undefined ? [] : [writeUser(user)];
  if (at < 0) lines.push(...written);
  else lines.splice(at, 1, ...written);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}
