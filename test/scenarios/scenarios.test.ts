/**
 * Every scenario of this folder comes out as it is written. After a change of the core that is
 * meant, `npx vitest run test/scenarios -u` writes them anew; read the difference.
 */

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Scenario } from './scenario.ts';

const FOLDER = import.meta.dirname;
const names = (await readdir(FOLDER)).filter((name) => name.endsWith('.txt')).sort();

async function titled(name: string): Promise<{ name: string; title: string; text: string }> {
  const text = await readFile(join(FOLDER, name), 'utf8');
  return { name, title: (text.split('\n')[0] ?? '').replace(/^# */, ''), text };
}

const scenarios = await Promise.all(names.map(titled));

describe('scenarios', () => {
  it('there are some', () => {
    expect(names.length).toBeGreaterThan(20);
  });

  it.each(scenarios)('$name: $title', async ({ name, text }) => {
    const result = new Scenario().run(text);
    await expect(result).toMatchFileSnapshot(join(FOLDER, name));
  });
});
