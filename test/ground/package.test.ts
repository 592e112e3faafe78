/** The package installs from a fresh clone, wherever its registry is. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

async function json(name: string): Promise<unknown> {
  return JSON.parse(await readFile(join(ROOT, name), 'utf8'));
}

const locked = async (): Promise<Record<string, Locked>> =>
  ((await json('package-lock.json')) as { packages: Record<string, Locked> }).packages;

describe('the lock file', () => {
  it('names no registry', async () => {
    const named = Object.entries(await locked()).filter(
      ([, { resolved }]) => resolved !== undefined,
    );
    expect(named).toEqual([]);
    expect(await readFile(join(ROOT, '.npmrc'), 'utf8')).not.toMatch(/registry\s*=/);
  });

  it('has every package that a locked one names, also those for other platforms', async () => {
    const packages = await locked();
    const missing: string[] = [];
    for (const [path, { dependencies, optionalDependencies }] of Object.entries(packages)) {
      for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
        let at = path;
        while (at !== '' && packages[`${at}/node_modules/${name}`] === undefined) {
          at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')));
        }
        const there = packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`];
        if (there === undefined) missing.push(`${path} needs ${name}`);
      }
    }
    expect(missing).toEqual([]);
  });

  it('is of the versions of package.json, which are exact', async () => {
    const root = (await locked())[''];
    const manifest = (await json('package.json')) as Record<string, Record<string, string>>;
    expect(root?.dependencies).toEqual(manifest['dependencies']);
    const all = Object.values({ ...manifest['dependencies'], ...manifest['devDependencies'] });
    expect(all.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });
});
