/** JSON web tokens: which are taken, by which keys, and what they say (RFC 7519, RFC 8725). */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type TokenKeys, readTokenKeys } from '../../src/access/token-keys.ts';
import { type TokenSettings, Tokens, isToken } from '../../src/access/tokens.ts';
import {
  CLAIMS,
  ec,
  forged,
  jwks,
  keyFile,
  NOW,
  pem,
  rsa,
  SECRET,
  token,
  TOKENS,
} from '../support/token-maker.ts';

let folder: string;
let secretKeys: TokenKeys;
const [RSA, OTHER_RSA, EC] = [rsa(), rsa(), ec()];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-tokens-'));
  secretKeys = await keys('secret', `${SECRET}\n`, ['HS256']);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function keys(
  kind: 'secret' | 'public-key' | 'jwks',
  text: string,
  algorithms: readonly string[],
): Promise<TokenKeys> {
  return readTokenKeys(await keyFile(folder, kind, { text, algorithms }));
}

function tokensOf(settings: Partial<TokenSettings> = {}): Tokens {
  return new Tokens({ ...TOKENS, ...settings }, { maxAtATime: 2, maxWaiting: 2 });
}

/** What it says, or why it is refused. */
async function judged(
  text: string | Promise<string>,
  settings: Partial<TokenSettings> = {},
  by: TokenKeys = secretKeys,
): Promise<unknown> {
  const tokens = tokensOf(settings);
  const found = await tokens.judge(await text, by, { nowMs: NOW * 1000, isGone: () => false });
  if (typeof found === 'object') return found;
  const why = Object.entries(tokens.refused).filter(([, count]) => count > 0);
  return why.map(([name]) => name).join();
}

describe('a token', () => {
  test('says who, with which groups and rights, and until when', async () => {
    const acl = { publish: ['a/%u/#'], subscribe: ['b/+', 'c'] };
    const said = await judged(token({ groups: ['ops', 'night'], acl }));
    const groups = new Set(['ops', 'night']);
    expect(said).toMatchObject({ user: 'tom', groups, endsAtMs: (NOW + 60) * 1000 + 10_000 });
    const { rules } = said as { rules: { actions: Set<string>; patterns: unknown[] }[] };
    expect(rules.map(({ actions, patterns }) => [[...actions], patterns.length])).toEqual([
      [['publish'], 1],
      [['subscribe'], 2],
    ]);
  });

  test.each([
    ['that has expired', { exp: NOW - 10 }, 'time'],
    ['that is not good yet', { nbf: NOW + 11 }, 'time'],
    ['without an end', { exp: undefined }, 'claim'],
    ['whose end is no number', { exp: '9999999999' }, 'claim'],
    ['of another issuer', { iss: 'https://idq' }, 'claim'],
    ['without an issuer', { iss: undefined }, 'claim'],
    ['for another audience', { aud: ['x', 'y'] }, 'claim'],
    ['without a user', { sub: undefined }, 'claim'],
    ['with a user that is no text', { sub: 7 }, 'claim'],
    ['with a user that cannot be one', { sub: 'a\nb' }, 'claim'],
    ['with groups that are no list', { groups: 'ops' }, 'claim'],
    ['with a group that cannot be one', { groups: ['a b'] }, 'claim'],
    ['with rights that are a list', { acl: ['a'] }, 'claim'],
    ['with rights to do what there is not', { acl: { admin: ['a'] } }, 'claim'],
    ['with a right to no pattern', { acl: { publish: ['a#'] } }, 'claim'],
    ['with too many rights', { acl: { publish: Array.from({ length: 101 }, () => 'a') } }, 'claim'],
  ])('%s is refused', async (_, claims, why) => {
    expect(await judged(token(claims))).toBe(why);
  });

  test.each([
    ['at the edge of the tolerance', { exp: NOW - 9, nbf: NOW + 10 }],
    ['with an audience among others', { aud: ['x', 'broker'] }],
    ['without groups and rights', { groups: undefined, acl: undefined }],
  ])('%s is taken', async (_, claims) => {
    expect(await judged(token(claims))).toMatchObject({ user: 'tom' });
  });

  test('says who and of which groups in claims that the configuration names', async () => {
    const roles = { realm_access: { roles: ['ops'] }, 'https://x.y/name': 'eve' };
    const settings = { userClaim: 'https://x.y/name', groupsClaim: 'realm_access.roles' };
    const groups = new Set(['ops']);
    expect(await judged(token(roles), settings)).toMatchObject({ user: 'eve', groups });
    expect(await judged(token(roles), { userClaim: 'constructor.name' })).toBe('claim');
    const none = { groupsClaim: undefined, rightsClaim: undefined };
    const bare = { groups: new Set(), rules: [] };
    expect(await judged(token({ groups: ['ops'], acl: 1 }), none)).toMatchObject(bare);
  });

  test('that is changed, signed by somebody else, or longer than may be is refused', async () => {
    const [header, payload, signature] = (await token()).split('.');
    const other = Buffer.from(JSON.stringify({ ...CLAIMS, sub: 'root' })).toString('base64url');
    expect(await judged(`${header}.${other}.${signature}`)).toBe('signature');
    expect(await judged(`${header}.${payload}.`)).toBe('signature');
    const key = Buffer.from(SECRET.replace('secret', 'SECRET'));
    expect(await judged(token({}, { key }))).toBe('signature');
    expect(await judged(token({ x: 'x'.repeat(8192) }))).toBe('form');
    expect(await judged('eyJ.eyJ.x')).toBe('form');
  });

  test('has the form of one, or is something else', async () => {
    expect(isToken(await token())).toBe(true);
    expect(isToken(forged({ alg: 'none' }, CLAIMS))).toBe(true);
    for (const text of ['', 'eyJ', 'eyJ.a', 'a.b.c', 'eyJ.a.b.c.d', 'eyJ .a.b']) {
      expect(isToken(text)).toBe(false);
    }
  });
});

describe('the algorithm', () => {
  test('none is never taken, whatever the configuration has', async () => {
    const none = forged({ alg: 'none' }, CLAIMS);
    expect(await judged(none)).toBe('algorithm');
    expect(await judged(none, { algorithms: ['none'] })).not.toBeTypeOf('object');
    expect(await judged(forged({ alg: 'None' }, CLAIMS, SECRET))).toBe('algorithm');
  });

  test('is one that is configured', async () => {
    const key = Buffer.from(SECRET.repeat(2));
    expect(await judged(token({}, { alg: 'HS512', key }))).toBe('algorithm');
    const by = await keys('public-key', pem(RSA.publicKey), ['RS256']);
    const signed = token({}, { alg: 'RS512', key: RSA.privateKey });
    expect(await judged(signed, { algorithms: ['RS256'] }, by)).toBe('algorithm');
  });

  test('with a secret is never checked with a public key (RFC 8725 2.1)', async () => {
    const text = pem(RSA.publicKey);
    const by = await keys('public-key', text, ['RS256']);
    const confused = forged({ alg: 'HS256' }, CLAIMS, text);
    expect(await judged(confused, { algorithms: ['RS256'] }, by)).toBe('algorithm');
    const both = { algorithms: ['RS256', 'HS256'] };
    expect(await judged(confused, both, by)).toBe('key');
    const set = await keys('jwks', jwks(['a', RSA.publicKey]), ['RS256']);
    expect(await judged(confused, both, set)).not.toBeTypeOf('object');
  });

  test('critical headers that are not understood are refused (RFC 7515 4.1.11)', async () => {
    const header = { alg: 'HS256', crit: ['exp'], exp: 1 };
    expect(await judged(forged(header, CLAIMS, SECRET))).toBe('form');
  });
});

describe('keys', () => {
  test('in PEM', async () => {
    const by = await keys('public-key', pem(EC.publicKey), ['ES256', 'RS256']);
    const settings = { algorithms: ['ES256', 'RS256'] };
    const good = token({}, { alg: 'ES256', key: EC.privateKey });
    expect(await judged(good, settings, by)).toMatchObject({ user: 'tom' });
    const other = token({}, { alg: 'ES256', key: ec().privateKey });
    expect(await judged(other, settings, by)).toBe('signature');
    const rs = token({}, { alg: 'RS256', key: RSA.privateKey });
    expect(await judged(rs, settings, by)).toBe('key');
  });

  test('of a set are found by kid', async () => {
    const text = jwks(['a', RSA.publicKey], ['b', OTHER_RSA.publicKey], ['c', EC.publicKey]);
    const by = await keys('jwks', text, ['RS256', 'ES256']);
    const settings = { algorithms: ['RS256', 'ES256'] };
    const signed = (kid: string | undefined): Promise<string> =>
      token({}, { alg: 'RS256', key: OTHER_RSA.privateKey, ...(kid !== undefined && { kid }) });
    expect(await judged(signed('b'), settings, by)).toMatchObject({ user: 'tom' });
    expect(await judged(signed('a'), settings, by)).toBe('signature');
    expect(await judged(signed('z'), settings, by)).toBe('key');
    expect(await judged(signed(undefined), settings, by)).toBe('key');
    const alone = token({}, { alg: 'ES256', key: EC.privateKey });
    expect(await judged(alone, settings, by)).toMatchObject({ user: 'tom' });
  });

  test('have an id by which a token is known to be of one that is gone', async () => {
    const signed = token({}, { alg: 'RS256', key: RSA.privateKey, kid: 'a' });
    const algorithms = ['RS256'];
    const first = await keys('jwks', jwks(['a', RSA.publicKey]), algorithms);
    const said = (await judged(signed, { algorithms }, first)) as { keyId: string };
    const more = jwks(['b', OTHER_RSA.publicKey], ['renamed', RSA.publicKey]);
    expect((await keys('jwks', more, algorithms)).has(said.keyId)).toBe(true);
    const other = await keys('jwks', jwks(['a', OTHER_RSA.publicKey]), algorithms);
    expect(other.has(said.keyId)).toBe(false);
    const asPem = await keys('public-key', pem(RSA.publicKey), algorithms);
    expect(asPem.has(said.keyId)).toBe(true);
  });

  test.each([
    ['secret', 'too short', ['HS256'], 'less than the 32 bytes'],
    ['secret', SECRET, ['HS256', 'HS512'], 'less than the 64 bytes'],
    ['public-key', SECRET, ['RS256'], 'is not a public key in PEM'],
    ['public-key', pem(EC.publicKey), ['RS256'], 'has no key for the algorithms'],
    ['jwks', '{', ['RS256'], 'is not a set of JSON web keys'],
    ['jwks', '{"keys":[1]}', ['RS256'], 'is not a set of JSON web keys'],
    ['jwks', '{"keys":[{"kty":"?"}]}', ['RS256'], 'has no key for the algorithms'],
    ['jwks', '{"keys":[{"kty":"oct","k":"eA"}]}', ['RS256'], 'private or secret'],
    ['jwks', JSON.stringify({ keys: Array(101).fill({}) }), ['RS256'], 'more than 100'],
    ['jwks', jwks(['a', EC.publicKey]), ['RS256'], 'has no key for the algorithms'],
    ['jwks', jwks(['a', RSA.privateKey]), ['RS256'], 'private or secret'],
  ] as const)('%s of a file that does not do are refused', async (...row) => {
    const [kind, text, algorithms, problem] = row;
    const error = await keys(kind, text, algorithms).catch((caught: unknown) => caught);
    expect(String(error)).toContain(problem);
    expect(String(error)).not.toContain(SECRET);
  });

  test('that are private or weak are refused', async () => {
    const { privateKey } = RSA;
    const text = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    await expect(keys('public-key', text, ['RS256'])).rejects.toThrow('private or secret');
    await expect(keys('public-key', pem(rsa(1024).publicKey), ['RS256'])).rejects.toThrow(
      'less than 2048 bits',
    );
  });
});

test('so many are checked at a time, so many wait; one whose client is gone is not', async () => {
  const tokens = tokensOf();
  const good = await token();
  const asked = { nowMs: NOW * 1000, isGone: () => false };
  const under = Array.from({ length: 5 }, () => tokens.judge(good, secretKeys, asked));
  const found = await Promise.all(under);
  expect(found.filter((each) => each === 'busy')).toHaveLength(1);
  expect(found.filter((each) => typeof each === 'object')).toHaveLength(4);
  expect(tokens.waiting).toBe(0);
  const gone = { ...asked, isGone: () => true };
  expect(await tokens.judge(good, secretKeys, gone)).toBe('busy');
});
