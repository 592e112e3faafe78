import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const FOLDER = join(import.meta.dirname, '../../src/machine');

/** Sources without their comments. */
async function sources(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of (await readdir(FOLDER)).filter((each) => each.endsWith('.ts'))) {
    const text = await readFile(join(FOLDER, name), 'utf8');
    found.set(name, text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/\/\/.*$/gm, ''));
  }
  expect(found.size).toBeGreaterThan(15);
  return found;
}

/** The lines of all sources that match. */
function lines(texts: Map<string, string>, pattern: RegExp): string[] {
  return [...texts].flatMap(([name, text]) =>
    text
      .split('\n')
      .filter((line) => pattern.test(line))
      .map((line) => `${name}: ${line.trim()}`),
  );
}

describe('the machine is pure', () => {
  it('nothing in it imports anything outside', async () => {
    const texts = await sources();
    const outside = [...texts].flatMap(([name, text]) =>
      [...text.matchAll(/\bfrom\s*'([^']*)'|\bimport\s*\(?\s*'([^']*)'/g)]
        .map((match) => match[1] ?? match[2] ?? '')
        .filter((path) => !/^\.\/[a-z0-9-]+\.ts$/.test(path) || !texts.has(path.slice(2)))
        .map((path) => `${name}: ${path}`),
    );
    expect(outside).toEqual([]);
  });

  it('has no clock, randomness, timer, promise, I/O or global object', async () => {
    const time = 'Date performance setTimeout setInterval setImmediate queueMicrotask crypto';
    const waiting = 'Promise async await';
    const outside = 'process console Buffer TextEncoder TextDecoder fetch require';
    const global = 'globalThis global eval Function';
    const words = [time, waiting, outside, global].join(' ').replaceAll(' ', '|');
    const spoken = [...(await sources())].map(
      ([name, text]) => [name, text.replaceAll(/'[^'\n]*'/g, "''")] as const,
    );
    expect(lines(new Map(spoken), new RegExp(`\\b(${words})\\b`))).toEqual([]);
  });

  it('has no mathematics whose last bit is the engine’s business', async () => {
    const exact = 'abs ceil clz32 floor imul max min round sign trunc'.replaceAll(' ', '|');
    expect(lines(await sources(), new RegExp(`Math\\.(?!(${exact})\\b)|\\*\\*`))).toEqual([]);
  });
});
