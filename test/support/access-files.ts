/** Users and rules in files of a folder of their own, and what reads them. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Access, type AccessSettings } from '../../src/access/access.ts';
import { ITERATIONS_RANGE, makeScramKeys } from '../../src/access/scram-keys.ts';
import { writeUser } from '../../src/access/users.ts';
import { makeVerifier } from '../../src/access/verifier.ts';
import type { LogLine } from './mqtt-server.ts';

/** As cheap as may be. */
const COST = 10;

export class AccessFiles {
  readonly folder: string;
  readonly log: LogLine[] = [];
  readonly #lines = new Map<string, string>();

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<AccessFiles> {
    return new AccessFiles(await mkdtemp(join(tmpdir(), 'fluxmq-access-')));
  }

  get users(): string {
    return join(this.folder, 'users');
  }

  get rules(): string {
    return join(this.folder, 'rules');
  }

  /** A user with keys of SCRAM, and with a password in CONNECT too if `both`. */
  async scramUser(name: string, password: string, both = false): Promise<void> {
    const verifier = both ? await makeVerifier(Buffer.from(password), COST) : undefined;
    const scram = await makeScramKeys(password, ITERATIONS_RANGE.least);
    const user = { name, password: verifier, scram, groups: new Set<string>() };
    this.#lines.set(name, writeUser(user));
    await writeFile(this.users, [...this.#lines.values(), ''].join('\n'));
  }

  /** Password undefined: there is no such user any more. */
  async user(name: string, password: string | undefined, ...groups: string[]): Promise<void> {
    if (password === undefined) this.#lines.delete(name);
    else {
      const verifier = await makeVerifier(Buffer.from(password), COST);
      this.#lines.set(name, writeUser({ name, password: verifier, groups: new Set(groups) }));
    }
    await writeFile(this.users, [...this.#lines.values(), ''].join('\n'));
  }

  async rule(...lines: string[]): Promise<void> {
    await writeFile(this.rules, [...lines, ''].join('\n'));
  }

  async read(settings: Partial<AccessSettings> = {}): Promise<Access> {
    const write =
      (level: LogLine['level']) =>
      (fields: Record<string, unknown>, message: string): void => {
        this.log.push({ level, fields, message });
      };
    const log = {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    };
    const given = {
      files: { users: this.users, rules: this.rules },
      anonymous: false,
      certificateUsers: false,
      maxAtATime: 2,
      maxWaiting: 100,
      maxRemembered: 100,
      ...settings,
    };
    return Access.read(given, log);
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Reads the files again, as on SIGHUP; false: they do not do. */
export async function reload(access: Access): Promise<boolean> {
  const policy = await access.readAgain();
  if (policy !== undefined) access.take(policy);
  return policy !== undefined;
}
