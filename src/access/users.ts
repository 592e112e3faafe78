/**
 * The users file: a line for each user (docs/access.md).
 *
 *     NAME   [scrypt:...]   [groups:ops,night]
 *
 * A user without a password comes in with a certificate only. What a line holds is never told in an
 * error. Nothing here writes: `fluxmq user` does, through `editedUsers`.
 */

import {
  type AccessFile,
  AccessFileError,
  eachLine,
  readText,
  wordsOf,
  writeWord,
} from './lines.ts';
import { type Verifier, parseVerifier } from './verifier.ts';

export interface User {
  readonly name: string;
  /** Undefined: no password lets it in. */
  readonly password: Verifier | undefined;
  readonly groups: ReadonlySet<string>;
}

export type Users = ReadonlyMap<string, User>;

const USERS_BYTES_MAX = 64 * 1024 * 1024;
const USERS_MAX = 200_000;
const NAME_LENGTH_MAX = 256;
const GROUPS_MAX = 64;

/** As it stands there. Rejects with an `AccessFileError`. */
export function readUsersText(path: string): Promise<string> {
  return readText(usersFile(path));
}

function usersFile(path: string): AccessFile {
  return { key: 'access.users_file', path, maxBytes: USERS_BYTES_MAX };
}

/** Rejects with an `AccessFileError`. */
export async function readUsers(path: string): Promise<Users> {
  const file = usersFile(path);
  const users = new Map<string, User>();
  await eachLine(file, await readText(file), ({ number, words }) => {
    const at = { line: number };
    const user = parseUser(words);
    if (typeof user === 'string') throw new AccessFileError(file, user, at);
    if (users.has(user.name)) throw new AccessFileError(file, 'the user is there twice', at);
    if (users.size === USERS_MAX) {
      throw new AccessFileError(file, `more than ${USERS_MAX} users`, at);
    }
    users.set(user.name, user);
  });
  if (users.size === 0) throw new AccessFileError(file, 'has no user: nobody could come in');
  return users;
}

/** A sentence for whoever wrote it where it is no user. */
function parseUser(words: readonly string[]): User | string {
  const [name = '', ...fields] = words;
  const problem = userNameProblem(name);
  if (problem !== undefined) return problem;
  let password: Verifier | undefined;
  let groups: ReadonlySet<string> | undefined;
  for (const field of fields) {
    if (field.startsWith('scrypt:') && password === undefined) {
      password = parseVerifier(field);
      if (password === undefined) return 'the password is no scrypt word, or costs too much';
    } else if (field.startsWith('groups:') && groups === undefined) {
      const names = field.slice('groups:'.length).split(',');
      const wrong = groupsProblem(names);
      if (wrong !== undefined) return wrong;
      groups = new Set(names);
    } else {
      return 'behind the name stand scrypt:... and groups:..., each once';
    }
  }
  return { name, password, groups: groups ?? new Set() };
}

/** What is wrong with it, in words. */
export function userNameProblem(name: string): string | undefined {
  if (name === '' || name.length > NAME_LENGTH_MAX || /[\p{C}\uFFFD]/u.test(name)) {
    return `a user name has 1 to ${NAME_LENGTH_MAX} printable characters`;
  }
  return undefined;
}

/** What is wrong with them, in words. */
export function groupsProblem(names: readonly string[]): string | undefined {
  if (names.length > GROUPS_MAX) return `a user has at most ${GROUPS_MAX} groups`;
  const isGood = names.every((name) => /^[\w.@-]{1,64}$/.test(name));
  return isGood ? undefined : 'a group has 1 to 64 of the characters A-Z a-z 0-9 _ . @ -';
}

export function writeUser({ name, password, groups }: User): string {
  const fields = [
    ...(password === undefined ? [] : [password.word]),
    ...(groups.size === 0 ? [] : [`groups:${[...groups].join(',')}`]),
  ];
  return [writeWord(name), ...fields].join('  ');
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
