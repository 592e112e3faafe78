/** Rules: how they are read, and which of them decides. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { wordsOf } from '../../src/access/lines.ts';
import {
  type Rule,
  type Subject,
  decidingRule,
  ownRules,
  parseRule,
  readRules,
} from '../../src/access/rules.ts';
import { covers, overlaps, parsePattern } from '../../src/access/pattern.ts';
import { fc } from '../support/properties.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-rules-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(text: string): Promise<Rule[]> {
  const path = join(folder, 'rules');
  await writeFile(path, text);
  return readRules(path);
}

function subject(user: string | undefined, ...groups: string[]): Subject {
  return { user, clientId: user === undefined ? 'someone' : `${user}-1`, groups: new Set(groups) };
}

const FILE = `
# the first that matches decides
deny  *                       publish            rooms/secret/#
allow user ann                publish,subscribe  rooms/#
allow group ops               *                  *
allow client "gw 1"           publish            gateways
allow user bob client bob-1   consume            $queue/orders $queue/bills/#
allow client %u               publish            own
allow *                       subscribe,publish  by-name/%u/#
deny  anonymous               subscribe          rooms/kitchen
allow *                       subscribe          rooms/#
`;

describe('the rule that decides', () => {
  test.each([
    [subject('ann'), 'publish', 'rooms/kitchen', 4],
    [subject('ann'), 'publish', 'rooms/secret/x', -3],
    [subject('ann'), 'subscribe', 'rooms/#', 4],
    [subject('ann'), 'subscribe', '#', undefined],
    [subject('ann'), 'consume', '$queue/orders', undefined],
    [subject('eve', 'ops'), 'publish', 'rooms/secret/x', -3],
    [subject('eve', 'ops'), 'admin', 'anything', 5],
    [subject('eve', 'ops'), 'subscribe', '$SYS/#', 5],
    [subject('eve', 'opsy'), 'admin', 'anything', undefined],
    [subject('bob'), 'consume', '$queue/orders', 7],
    [subject('bob'), 'consume', '$queue/bills', 7],
    [{ ...subject('bob'), clientId: 'bob-2' }, 'consume', '$queue/orders', undefined],
    [{ ...subject('bob'), clientId: 'bob' }, 'publish', 'own', 8],
    [subject('bob'), 'publish', 'own', undefined],
    [{ ...subject(undefined), clientId: 'gw 1' }, 'publish', 'gateways', 6],
    [subject('bob'), 'publish', 'by-name/bob/x', 9],
    [subject('bob'), 'publish', 'by-name/ann/x', undefined],
    [subject('+'), 'publish', 'by-name/bob/x', undefined],
    [subject(undefined), 'publish', 'by-name/bob/x', undefined],
    [subject(undefined), 'subscribe', 'rooms/#', -10],
    [subject(undefined), 'subscribe', 'rooms/hall', 11],
    [subject('bob'), 'subscribe', 'rooms/#', 11],
  ] as const)('%j, %s %s: line %s', async (who, action, topic, line) => {
    const rule = decidingRule(ownRules(await read(FILE), who), action, topic);
    expect(rule && (rule.allow ? rule.line : -rule.line)).toBe(line);
  });

  test('is the one that a naive reader finds, whatever the rules and whoever asks', () => {
    const level = fc.constantFrom('a', 'b', '+', '%u', 'x-%c', '$q');
    const pattern = fc
      .tuple(fc.array(level, { maxLength: 3 }), fc.boolean())
      .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/'))
      .filter((made) => made !== '');
    const name = fc.constantFrom('a', 'b', '+', 'a/b', '#');
    const who = fc.oneof(
      fc.constantFrom(['*'], ['anonymous']),
      fc.tuple(fc.constantFrom('user', 'group', 'client'), name),
    );
    const written = fc.tuple(
      fc.constantFrom('allow', 'deny'),
      who,
      fc.constantFrom('publish', 'subscribe', 'publish,subscribe', '*'),
      fc.array(pattern, { minLength: 1, maxLength: 3 }),
    );
    const asker = fc.record({
      user: fc.option(name, { nil: undefined }),
      clientId: name,
      groups: fc.array(name).map((names) => new Set(names)),
    });
    const asked = fc.array(fc.constantFrom('a', 'b', 'x-a', '$q', '+'), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(fc.array(written), asker, asked, (lines, from, levels) => {
        const topic = levels.join('/');
        const rules = lines.map(([verdict, [kind = '', ...value], actions, patterns], at) =>
          parseRule([verdict, kind, ...value, actions, ...patterns], at + 1),
        );
        const good = rules.filter((rule): rule is Rule => typeof rule === 'object');
        expect(good).toHaveLength(lines.length);
        const found = decidingRule(ownRules(good, from), 'publish', topic);
        expect(found?.line).toBe(naive(lines, from, topic));
      }),
      { numRuns: 2000 },
    );
  });
});

type Written = readonly [string, readonly string[], string, readonly string[]];

/** Line by line and pattern by pattern, from the texts. */
function naive(lines: readonly Written[], from: Subject, topic: string): number | undefined {
  const { user, clientId, groups } = from;
  const at = lines.findIndex(([verdict, [kind = '', value = ''], actions, patterns]) => {
    if (kind === 'anonymous' && user !== undefined) return false;
    if (kind === 'user' && user !== value) return false;
    if (kind === 'group' && !groups.has(value)) return false;
    if (kind === 'client' && clientId !== value) return false;
    if (actions !== '*' && !actions.split(',').includes('publish')) return false;
    return patterns.some((pattern) => {
      let text = '';
      for (const level of pattern.split('/')) {
        const name = level.includes('%u') ? user : level.includes('%c') ? clientId : 'good';
        const isGood = name !== undefined && !/[+#/]/.test(name);
        if (!isGood && verdict === 'allow') return false;
        if (!isGood) {
          text += '#';
          break;
        }
        text += `${level.replace(/%[uc]/, () => name ?? '')}/`;
      }
      const whole = parsePattern(text.endsWith('/') ? text.slice(0, -1) : text);
      if (whole === undefined) throw new Error(text);
      return verdict === 'allow' ? covers(whole, topic) : overlaps(whole, topic);
    });
  });
  return at < 0 ? undefined : at + 1;
}

describe('a rules file', () => {
  test.each([
    ['permit * publish #', 1, 'a rule begins with allow or deny'],
    ['\n\nallow everybody publish #', 3, 'who is meant'],
    ['allow user', 1, 'a name belongs behind user'],
    ['allow user a user b publish x', 1, 'user is there twice'],
    ['allow * read x', 1, 'then the actions'],
    ['allow * publish', 1, 'a rule ends with the topics'],
    ['allow * publish a/#/b', 1, 'a pattern has # or +'],
    ['allow * consume orders', 1, 'consume and declare are about whole queues'],
    ['allow * consume $queue/orders/eu/#', 1, 'consume and declare are about whole queues'],
    ['allow user "ann publish x', 1, 'a word in quotes'],
    [`allow * publish ${'x'.repeat(9000)}`, 1, 'is longer than 8192 characters'],
    [`${'allow * publish x\n'.repeat(2001)}`, 2001, 'more than 2000 patterns'],
  ])('%j is refused with its line', async (text, line, told) => {
    await expect(read(text)).rejects.toThrow(`${join(folder, 'rules')}:${line}: `);
    await expect(read(text)).rejects.toThrow(told);
  });

  test.each(['', '\n\n', '# only this\n'])('S7: %j has no rule, and is refused', async (text) => {
    await expect(read(text)).rejects.toThrow('has no rule: nobody could do anything');
  });

  test('S7: one that is not there, not text or too large is refused', async () => {
    await expect(readRules(join(folder, 'none'))).rejects.toThrow('cannot be read');
    await expect(readRules(folder)).rejects.toThrow('cannot be read');
    await writeFile(join(folder, 'bytes'), Uint8Array.of(0x61, 0xff));
    await expect(readRules(join(folder, 'bytes'))).rejects.toThrow('is not UTF-8 text');
    await writeFile(join(folder, 'large'), new Uint8Array(1024 * 1024 + 1));
    await expect(readRules(join(folder, 'large'))).rejects.toThrow('is larger than');
  });

  test('words in quotes hold spaces and quotes', () => {
    expect(wordsOf('user "a \\"b\\" c"\t x')).toEqual(['user', 'a "b" c', 'x']);
    for (const wrong of ['"a', '"a"b', '"\\x"', 'a "']) expect(wordsOf(wrong)).toBeUndefined();
  });
});
