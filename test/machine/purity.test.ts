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
    const impure =
      /\b(Date|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process|console|Promise|async|await|Buffer|TextEncoder|TextDecoder|crypto|globalThis|global|fetch|require|eval|Function\()\b/;
    expect(lines(await sources(), impure)).toEqual([]);
  });

  it('has no mathematics whose last bit is the engine’s business', async () => {
    const inexact =
      /Math\.(random|pow|exp|log|log2|log10|expm1|log1p|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|cbrt|hypot)\b|\*\*/;
    expect(lines(await sources(), inexact)).toEqual([]);
  });
});
