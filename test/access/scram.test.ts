/** SCRAM-SHA-256 on the side of the server: its keys, its messages, one exchange, its decoys. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { prepareQuery, prepareStored } from '../../src/access/saslprep.ts';
import { ScramDecoys, ScramShares } from '../../src/access/scram-decoys.ts';
import { ScramExchange } from '../../src/access/scram-exchange.ts';
import {
  ITERATIONS_RANGE,
  makeScramKeys,
  parseScramKeys,
  type ScramKeys,
} from '../../src/access/scram-keys.ts';
import { MESSAGE_BYTES_MAX, parseClientFirst } from '../../src/access/scram-message.ts';
import {
  readUsers,
  scramNameProblem,
  type UsersFile,
  userNameProblem,
  withDecoys,
} from '../../src/access/users.ts';
import { KEYS } from '../../src/config/keys.ts';
import { fc } from '../support/properties.ts';
import { challengeOf, ScramClient } from '../support/scram-client.ts';

/** RFC 7677 section 3. */
const RFC = {
  user: 'user',
  password: 'pencil',
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  challenge:
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  final:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,' +
    'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  signature: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

let keys: ScramKeys;
let folder: string;
beforeAll(async () => {
  keys = await made(RFC.password);
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-scram-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function made(password: string, iterations = 4096): Promise<ScramKeys> {
  const found = await makeScramKeys(password, iterations, RFC.salt);
  if (found === undefined) throw new Error(password);
  return found;
}

function exchange(serverNonce?: string): ScramExchange {
  return new ScramExchange({
    keysOf: () => keys,
    ...(serverNonce !== undefined && { serverNonce }),
  });
}

function textOf(step: ReturnType<ScramExchange['next']>): string {
  return 'data' in step ? Buffer.from(step.data).toString() : step.why;
}

async function read(text: string): Promise<UsersFile> {
  const path = join(folder, 'users');
  await writeFile(path, text);
  return readUsers(path);
}

describe('an exchange', () => {
  test('is that of RFC 7677 section 3, word by word', () => {
    const server = exchange(RFC.serverNonce);
    expect(textOf(server.next(Buffer.from(RFC.first)))).toBe(RFC.challenge);
    const step = server.next(Buffer.from(RFC.final));
    expect(step).toMatchObject({ kind: 'proved', user: 'user' });
    expect(textOf(step)).toBe(RFC.signature);
  });

  test.each(['n,,', 'y,,', 'n,a=user,', 'n,a=us=2Cer,'])('with %j: proved', (header) => {
    const user = header.includes('2C') ? 'us,er' : 'user';
    const client = new ScramClient({ user, password: 'pencil', header });
    const server = exchange();
    const asked = server.next(client.first);
    const step = server.next(client.final(Buffer.from(textOf(asked))));
    expect(step).toMatchObject({ kind: 'proved', user });
    expect(textOf(step)).toBe(client.serverSignature);
  });

  test('has a nonce of its own each time, behind that of the client, of 24 bytes', () => {
    const nonces = [1, 2].map(() => {
      const said = textOf(exchange().next(Buffer.from(RFC.first)));
      const { nonce } = challengeOf(said);
      expect(nonce.startsWith('rOprNGfwEbeRWgbNEkqO')).toBe(true);
      return nonce.slice('rOprNGfwEbeRWgbNEkqO'.length);
    });
    expect(nonces[0]).not.toBe(nonces[1]);
    expect(Buffer.from(nonces[0] ?? '', 'base64')).toHaveLength(24);
  });

  test.each([
    ['another password', { password: 'Pencil' }, {}],
    ['another header than that of the first message', {}, { header: 'y,,' }],
    ['the nonce of somebody else', {}, { nonce: 'rOprNGfwEbeRWgbNEkqO' }],
    ['the wish to act for somebody else', { header: 'n,a=root,' }, {}],
  ])('with %s: wrong, and it is over', (_, parts, spoil) => {
    const client = new ScramClient({ user: 'user', password: 'pencil', ...parts });
    const server = exchange();
    const asked = Buffer.from(textOf(server.next(client.first)));
    expect(server.next(client.final(asked, spoil))).toEqual({ kind: 'failed', why: 'wrong' });
    const again = server.next(client.final(asked));
    expect(again).toEqual({ kind: 'failed', why: 'malformed' });
  });

  test('a proof that was right once is not right in another exchange', () => {
    const client = new ScramClient({ user: 'user', password: 'pencil', nonce: 'n' });
    const server = exchange('1');
    const proof = client.final(Buffer.from(textOf(server.next(client.first))));
    expect(server.next(proof)).toMatchObject({ kind: 'proved' });
    const other = exchange('2');
    other.next(client.first);
    expect(other.next(proof)).toEqual({ kind: 'failed', why: 'wrong' });
  });

  test.each([
    ['', 'malformed'],
    ['n,,', 'malformed'],
    ['n,,n=,r=x', 'malformed'],
    ['n,,n=user,r=', 'malformed'],
    ['n,,n=user,r=a b', 'malformed'],
    ['n,,n=user,r=x,', 'malformed'],
    ['n,,n=us=er,r=x', 'malformed'],
    ['n,a=us=er,n=user,r=x', 'malformed'],
    ['n,a=,n=user,r=x', 'malformed'],
    ['n,,m=ext,n=user,r=x', 'malformed'],
    ['n,n=user,r=x', 'malformed'],
    ['x,,n=user,r=x', 'malformed'],
    ['n,,r=x,n=user', 'malformed'],
    ['n,,n=\u0007,r=x', 'malformed'],
    ['n,,n=\u00ad,r=x', 'malformed'],
    [`n,,n=${'x'.repeat(MESSAGE_BYTES_MAX)},r=x`, 'malformed'],
    [`n,,n=${'x'.repeat(257)},r=x`, 'malformed'],
    ['p=tls-exporter,,n=user,r=x', 'channel-binding'],
    ['p=tls-unique,a=user,n=user,r=x', 'channel-binding'],
  ])('first message %j: %s', (text, why) => {
    expect(exchange().next(Buffer.from(text))).toEqual({ kind: 'failed', why });
  });

  test('bytes that are no text are no message', () => {
    const bytes = Buffer.concat([Buffer.from('n,,n='), Buffer.of(0xff), Buffer.from(',r=x')]);
    expect(parseClientFirst(bytes)).toBe('malformed');
  });

  test.each([
    '',
    'c=biws,r=x',
    'r=x,c=biws,p=AAAA',
    'c=biws,r=x,p=',
    'c=biws,r=x,p=AAA',
    'c=biws,r=x,p=AAAA,p',
    'c=bi ws,r=x,p=AAAA',
    'c=biw,r=x,p=AAAA',
  ])('last message %j: malformed', (text) => {
    const server = exchange();
    server.next(Buffer.from(RFC.first));
    expect(server.next(Buffer.from(text))).toEqual({ kind: 'failed', why: 'malformed' });
  });

  test('a proof of another length is wrong; extensions are let through', () => {
    const server = exchange('s');
    server.next(Buffer.from('n,,n=user,r=x,e=1,f=a=b'));
    const short = Buffer.from('c=biws,r=xs,z=1,p=AAAA');
    expect(server.next(short)).toEqual({ kind: 'failed', why: 'wrong' });
  });
});

describe('whatever a stranger sends', () => {
  const piece = fc.constantFrom(
    'n,,',
    'y,a=b,',
    'n=',
    'r=',
    'c=',
    'p=',
    ',',
    '=',
    'user',
    'biws',
    '\0',
  );
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .array(fc.oneof(piece, fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 12 })
      .map((pieces) => Buffer.from(pieces.join(''))),
  );

  test('an exchange ends, proves nothing, and throws nothing', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), (messages) => {
        const server = exchange();
        const kinds = messages.map((data) => server.next(data).kind);
        expect(kinds).not.toContain('proved');
        expect(kinds.slice(1)).not.toContain('ask');
      }),
    );
  });
});

describe('SASLprep (RFC 4013 section 3)', () => {
  test.each([
    ['I\u00adX', 'IX'],
    ['user', 'user'],
    ['USER', 'USER'],
    ['\u00aa', 'a'],
    ['\u2168', 'IX'],
    ['\u0007', undefined],
    ['\u0627\u0031', undefined],
    ['\u00ad', undefined],
  ])('%j is %j', (text, prepared) => {
    expect(prepareStored(text)).toBe(prepared);
    expect(prepareQuery(text)).toBe(prepared);
  });

  test('a name of 256 characters is prepared, a longer one is none', () => {
    expect(prepareQuery('\ufdfa'.repeat(256))).toHaveLength(256 * 18);
    expect(prepareQuery('\ufdfa'.repeat(257))).toBeUndefined();
    expect(prepareQuery('x'.repeat(257))).toBeUndefined();
  });

  test('what Unicode 3.2 did not know is asked for, and never stored', () => {
    expect(prepareStored('\u0221')).toBeUndefined();
    expect(prepareQuery('\u0221')).toBe('\u0221');
  });

  test('a name and a password are the same in each of their forms', async () => {
    const composed = await made('p\u00e4ss');
    expect((await made('pa\u0308ss')).word).toBe(composed.word);
    const asked: string[] = [];
    const server = new ScramExchange({
      keysOf: (user) => {
        asked.push(user);
        return keys;
      },
    });
    server.next(new ScramClient({ user: 'a\u0308\u2168', password: '' }).first);
    expect(asked).toEqual(['\u00e4IX']);
    expect(await makeScramKeys('\u0007', 4096)).toBeUndefined();
  });
});

describe('the word of the users file', () => {
  test('is read as it was written, and holds no password', async () => {
    expect(parseScramKeys(keys.word)).toEqual(keys);
    expect(keys.word).toMatch(/^scram-sha-256:4096:W22ZaJ0SNY7soEsUEjb6gQ==:[^:]{44}:[^:]{44}$/);
    expect((await makeScramKeys('x', 4096))?.salt).not.toEqual(
      (await makeScramKeys('x', 4096))?.salt,
    );
  });

  test.each([
    (word: string) => word.replace('4096', '4095'),
    (word: string) => word.replace('4096', '10000001'),
    (word: string) => word.replace('4096', 'x'),
    (word: string) => word.replace('W22ZaJ0SNY7soEsUEjb6gQ==', 'AAAA'),
    (word: string) => word.replace('gQ==', 'gR=='),
    (word: string) => word.slice(0, -4),
    (word: string) => `${word}:`,
  ])('is none with a part that is wrong: %s', (spoil) => {
    expect(parseScramKeys(spoil(keys.word))).toBeUndefined();
  });

  test('has iterations in the range that the configuration has', () => {
    const { min, max } = KEYS.keys.access.keys.scram.keys.iterations as unknown as {
      readonly min: number;
      readonly max: number;
    };
    expect({ least: min, most: max }).toEqual(ITERATIONS_RANGE);
  });

  test('stands beside the others, once, for a name that SCRAM finds', async () => {
    const { users } = await read(`ann  ${keys.word}  groups:ops\n`);
    const found = users.get('ann');
    expect([found?.scram, found?.password]).toEqual([keys, undefined]);
    const refused = [
      [`ann ${keys.word} ${keys.word}`, ':1: behind the name stand'],
      ['ann scram-sha-256:1:2:3:4', ':1: the word of SCRAM is none'],
      [`\u00aa ${keys.word}`, ':1: the user name is not as SASLprep has it'],
    ] as const;
    for (const [text, told] of refused) await expect(read(text)).rejects.toThrow(told);
    expect(scramNameProblem('\u00e4 b')).toBeUndefined();
    expect(userNameProblem('%decoys')).toContain('the word of another line');
  });

  test('S12: what is wrong is told without what the line holds', async () => {
    await expect(read('ann scram-sha-256:hunter2\n')).rejects.not.toThrow('hunter2');
    await expect(read('%decoys hunter2\nann\n')).rejects.not.toThrow('hunter2');
  });
});

describe('the key of decoys', () => {
  const key = Buffer.alloc(32, 7);

  test('is a line of its own, put in once, and no user', async () => {
    const once = withDecoys('# people\nann\n', key);
    expect(withDecoys(once, Buffer.alloc(32, 8))).toBe(once);
    const { users, decoyKey } = await read(once);
    expect([[...users.keys()], decoyKey]).toEqual([['ann'], key]);
    expect((await read('ann\n')).decoyKey).toBeUndefined();
  });

  test.each([
    '%decoys\nann\n',
    '%decoys AAAA\nann\n',
    `%decoys ${key.toString('base64')} more\nann\n`,
    `%decoys ${key.toString('base64')}\n%decoys ${key.toString('base64')}\nann\n`,
  ])('%j is refused', async (text) => {
    await expect(read(text)).rejects.toThrow('decoys');
  });
});

describe('a decoy', () => {
  const KEY = Buffer.alloc(32, 7);
  const names = Array.from({ length: 2000 }, (_, at) => `user-${at}`);

  function sharesOf(...costs: [iterations: number, saltBytes: number, users: number][]) {
    const shares = new ScramShares();
    for (const [iterations, saltBytes, users] of costs) {
      const salt = Buffer.alloc(saltBytes);
      for (let at = 0; at < users; at++) shares.count({ ...keys, iterations, salt });
    }
    return shares.all();
  }

  test('is the same each time for a name, and another one for another name or key', () => {
    const decoys = new ScramDecoys(KEY, sharesOf([4096, 16, 1]));
    const [one, other] = [decoys.of('eve'), decoys.of('bob')];
    expect(new ScramDecoys(KEY, sharesOf([4096, 16, 9])).of('eve')).toEqual(one);
    expect(one.salt).not.toEqual(other.salt);
    expect(one.storedKey).not.toEqual(one.serverKey);
    const otherKey = new ScramDecoys(Buffer.alloc(32, 8), sharesOf([4096, 16, 1]));
    expect(otherKey.of('eve').salt).not.toEqual(one.salt);
  });

  test('has the numbers of the users, as often as they have them', () => {
    const decoys = new ScramDecoys(
      KEY,
      sharesOf([4096, 16, 30], [100_000, 20, 60], [4096, 64, 10]),
    );
    const counts = new Map<string, number>();
    for (const name of names) {
      const { iterations, salt } = decoys.of(name);
      const kind = `${iterations}:${salt.length}`;
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(['100000:20', '4096:16', '4096:64']);
    expect(counts.get('100000:20')).toBeGreaterThan(1100);
    expect(counts.get('4096:64')).toBeGreaterThan(100);
  });

  test('keeps them when a user comes, but for few names', () => {
    const before = new ScramDecoys(KEY, sharesOf([4096, 16, 50], [100_000, 16, 50]));
    const after = new ScramDecoys(KEY, sharesOf([4096, 16, 50], [100_000, 16, 51]));
    const changed = names.filter(
      (name) => before.of(name).iterations !== after.of(name).iterations,
    );
    expect(changed.length).toBeLessThan(40);
  });
});
