/**
 * Certificates and their private keys as files of one folder. A key is readable for its owner alone
 * from its first byte on, and nothing that is there is ever replaced: a lost key of a certificate
 * authority cannot be made again.
 *
 * A crash in the middle leaves a key without its certificate; the next call refuses and names it.
 */

import { type KeyObject, X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdir, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError, ExitCode } from '../exit-codes.ts';

const FOLDER_MODE = 0o700;
const KEY_MODE = 0o600;
const CERTIFICATE_MODE = 0o644;

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** The paths of the files that belong to a name. */
export function pathsOf(folder: string, name: string): KeyPair {
  return { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
}

/** Writes both, or refuses and changes nothing. */
export async function writePair(folder: string, name: string, pem: KeyPair): Promise<KeyPair> {
  const paths = pathsOf(folder, name);
  try {
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  } catch (cause) {
    throw failed(`cannot make the folder ${folder}`, cause);
  }
  await writeNew(paths.key, pem.key, KEY_MODE);
  try {
    await writeNew(paths.certificate, pem.certificate, CERTIFICATE_MODE);
  } catch (error) {
    await unlink(paths.key);
    throw error;
  }
  return paths;
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  try {
    const file = await open(path, 'wx', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') {
      const text = `${path} is there already, and is not replaced: take it away, or name another`;
      throw new CliError(ExitCode.usage, text, { cause });
    }
    throw failed(`cannot write ${path}`, cause);
  }
}

export async function readCertificate(path: string): Promise<X509Certificate> {
  const bytes = await read(path);
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw new CliError(ExitCode.usage, `${path} is no certificate in PEM`, { cause });
  }
}

export async function readKey(path: string): Promise<KeyObject> {
  const bytes = await read(path);
  try {
    return createPrivateKey(bytes);
  } catch (cause) {
    const text = `${path} is no private key in PEM, or is encrypted`;
    throw new CliError(ExitCode.usage, text, { cause });
  }
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw failed(`cannot read ${path}`, cause);
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function failed(what: string, cause: unknown): CliError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CliError(ExitCode.usage, `${what}: ${why}`, { cause });
}
