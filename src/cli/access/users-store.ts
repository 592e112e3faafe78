/**
 * The users file as `fluxmq user` changes it: read, one line changed, and put in place as a whole,
 * synced, so that a broker that reads it meanwhile finds the old one or the new one.
 *
 * The new text is written beside it first, under a name that only one can make: two at a time do
 * not lose each other's change. A crash leaves that file, and the next call names it.
 */

import { randomBytes } from 'node:crypto';
import { chown, open, realpath, rename, stat, unlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { AccessFileError } from '../../access/lines.ts';
import {
  DECOY_KEY_BYTES,
  type User,
  type Users,
  editedUsers,
  readUsers,
  readUsersText,
  withDecoys,
} from '../../access/users.ts';
import { type Config, loadConfig } from '../../config/config.ts';
import { CliError, ExitCode } from '../exit-codes.ts';

const FILE_MODE = 0o600;

export interface AccessFlags {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly file?: string;
  readonly json?: boolean;
}

/** The users file that is meant; throws a `CliError` where none is named. */
export function usersPath({ config, set, file }: AccessFlags): string {
  if (file !== undefined) return resolve(file);
  const { users_file: path } = loadConfig(config, set ?? []).access;
  if (path !== '') return resolve(path);
  const text = 'no users file is named: say --file, or -c with a configuration that has users_file';
  throw new CliError(ExitCode.usage, text);
}

/** What is configured of SCRAM. */
export function scramOf({ config, set }: AccessFlags): Config['access']['scram'] {
  return loadConfig(config, set ?? []).access.scram;
}

/** Those of a file that is not there, or has none, are none. */
export async function usersOf(path: string): Promise<Users> {
  const text = await textOf(path);
  if (text.split('\n').every((line) => /^\s*(#.*|%decoys\s.*)?$/.test(line))) return new Map();
  return (await asUsage(readUsers(path))).users;
}

/** Changes one user; `change` gives what it is to be, undefined: removed. */
export async function changeUser(
  path: string,
  name: string,
  change: (before: User | undefined) => Promise<User | undefined>,
): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const beside = `${target}.new`;
  const file = await makeBeside(beside);
  try {
    try {
      // Read when nobody else changes it.
      const before = (await usersOf(target)).get(name);
      const after = await change(before);
      const edited = editedUsers(await textOf(target), name, after);
      const key = randomBytes(DECOY_KEY_BYTES);
      await file.writeFile(after?.scram === undefined ? edited : withDecoys(edited, key));
      await keepOwner(file, target);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, target);
  } catch (error) {
    await unlink(beside).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(target));
}

async function textOf(path: string): Promise<string> {
  try {
    await stat(path);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return '';
  }
  return asUsage(readUsersText(path));
}

async function makeBeside(beside: string): ReturnType<typeof open> {
  try {
    return await open(beside, 'wx', FILE_MODE);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const text = why.includes('EEXIST')
      ? `${beside} is there: somebody changes the users now, or a change broke off; then remove it`
      : `cannot write ${beside}: ${why}`;
    throw new CliError(ExitCode.usage, text, { cause });
  }
}

/** Whoever could read the old one reads the new one. */
async function keepOwner(file: Awaited<ReturnType<typeof open>>, target: string): Promise<void> {
  const old = await stat(target).catch(() => undefined);
  if (old === undefined) return;
  await file.chmod(old.mode & 0o777);
  const { uid, gid } = await file.stat();
  if (uid !== old.uid || gid !== old.gid) await chown(`${target}.new`, old.uid, old.gid);
}

async function syncFolder(folder: string): Promise<void> {
  const opened = await open(folder, 'r');
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

/** What is wrong with a file is wrong use. */
export async function asUsage<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof AccessFileError)) throw error;
    throw new CliError(ExitCode.usage, error.message, { cause: error });
  }
}
