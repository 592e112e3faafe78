/** What is written about the configuration is true. */

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/config.ts';
import { configurationPage, defaultsExample, jsonSchema } from '../../src/config/reference.ts';

const ROOT = join(import.meta.dirname, '../..');

async function filesBelow(folder: string, ending: RegExp): Promise<string[]> {
  const entries = await readdir(join(ROOT, folder), { recursive: true });
  return entries.filter((name) => ending.test(name)).map((name) => join(folder, name));
}

const read = (name: string): Promise<string> => readFile(join(ROOT, name), 'utf8');

describe('the documentation of the configuration', () => {
  it.each([
    ['docs/configuration.md', configurationPage()],
    ['docs/config.schema.json', jsonSchema()],
    ['examples/no-cluster.yaml', defaultsExample()],
  ])('%s is current (npm run docs:config writes it)', async (name, text) => {
    expect(await read(name)).toBe(text);
  });

  it('examples/no-cluster.yaml means the same as no file, topics spelled out', () => {
    const file = { name: 'no-cluster.yaml', yaml: defaultsExample() };
    const { queues, ...rest } = parseConfig({ file });
    const { queues: defaults, ...others } = parseConfig({});
    expect(rest).toEqual(others);
    const spelled = defaults.map((queue) => ({ ...queue, topics: [`$queue/${queue.name}/#`] }));
    expect(queues).toEqual(spelled);
  });

  it('O5: every example and every YAML block of the documentation is a configuration', async () => {
    const examples = await filesBelow('examples', /\.ya?ml$/);
    expect(examples).toContain('examples/no-cluster.yaml');
    for (const name of examples) {
      const file = { name, yaml: await read(name) };
      expect(() => parseConfig({ file }), name).not.toThrow();
    }
    let blocks = 0;
    for (const name of ['README.md', ...(await filesBelow('docs', /\.md$/))]) {
      for (const [, yaml = ''] of (await read(name)).matchAll(/^```ya?ml\n([^]*?)^```/gm)) {
        blocks += 1;
        expect(() => parseConfig({ file: { name, yaml } }), name).not.toThrow();
      }
    }
    expect(blocks).toBeGreaterThan(0);
  });
});
