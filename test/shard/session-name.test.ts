import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { definitionProblem } from '../../src/machine/definitions.ts';
import { sessionQueueName } from '../../src/shard/session-name.ts';

describe("the name of a session's queue", () => {
  it.each([
    ['sensor-1', '$session/sensor-1'],
    ['a/b+c#d%e', '$session/a%2Fb%2Bc%23d%25e'],
    ['$x', '$session/%24x'],
    ['x$', '$session/x$'],
    ['.', '$session/%2E'],
    ['..', '$session/%2E.'],
    ['~a', '$session/%7Ea'],
    ['ä 漢 🎉', '$session/ä 漢 🎉'],
    ['\u0000\u0085', '$session/%00%85'],
  ])('of the client %s is %s', (clientId, name) => {
    expect(sessionQueueName(clientId)).toBe(name);
  });

  it('can be declared, and is the name of no other client', () => {
    const part = fc.constantFrom(
      'a',
      '%',
      '2',
      'F',
      '/',
      '%2F',
      '~',
      '$',
      '.',
      '\u0000',
      '🎉',
      '+',
    );
    const clientId = fc.oneof(
      fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('')),
      fc.array(part, { minLength: 60, maxLength: 300 }).map((parts) => parts.join('')),
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 400 }),
    );
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(clientId, (id) => {
        const name = sessionQueueName(id);
        expect(definitionProblem(defaultDefinition(name, 'session'))).toBeUndefined();
        expect(seen.get(name) ?? id).toBe(id);
        seen.set(name, id);
      }),
      { numRuns: 3_000 },
    );
  });

  it('is one for client ids of any length, also where they differ at the end alone', () => {
    const long = 'c'.repeat(65_534);
    const names = [sessionQueueName(`${long}a`), sessionQueueName(`${long}b`)];
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name.length).toBeLessThanOrEqual(255);
    const asWritten = names[0]?.slice('$session/'.length) as string;
    expect(sessionQueueName(asWritten)).not.toBe(names[0]);
  });
});
