/** The users file, and by what passwords are known. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  type User,
  type UsersFile,
  editedUsers,
  readUsers,
  writeUser,
} from '../../src/access/users.ts';
import { isRight, makeVerifier, parseVerifier } from '../../src/access/verifier.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-users-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(text: string): Promise<UsersFile> {
  const path = join(folder, 'users');
  await writeFile(path, text);
  return readUsers(path);
}

const SECRET = Buffer.from('open sesame');
/** RFC 7914 section 12: of "pleaseletmein" and "SodiumChloride", with N=16384, r=8, p=1. */
const RFC_7914_KEY =
  '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2' +
  'd5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887';

describe('a verifier', () => {
  test('knows its password again, from its word, and no other', async () => {
    const made = await makeVerifier(SECRET, 10);
    const again = parseVerifier(made.word);
    if (again === undefined) throw new Error(made.word);
    expect(await isRight(again, SECRET)).toBe(true);
    expect(await isRight(again, Buffer.from('open sesamE'))).toBe(false);
    expect(await isRight(again, Buffer.alloc(0))).toBe(false);
    expect((await makeVerifier(SECRET, 10)).word).not.toBe(made.word);
  });

  test('is scrypt as RFC 7914 says (section 12)', async () => {
    // Its salt is shorter than ours may be: not through the reader of words.
    const cost = { logN: 14, r: 8, p: 1 };
    const known = { salt: Buffer.from('SodiumChloride'), key: Buffer.from(RFC_7914_KEY, 'hex') };
    const verifier = { word: '', cost, ...known };
    expect(await isRight(verifier, Buffer.from('pleaseletmein'))).toBe(true);
  });

  test.each([
    'scrypt:9:8:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==',
    'scrypt:18:8:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==',
    'scrypt:17:16:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==',
    'scrypt:14:8:0:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==',
    'scrypt:14:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA==',
    'scrypt:14:8:1:AAAAAAAAAAAAAAAAAAAAAA==:',
    'scrypt:14:8:1:AAAAAAAAAAAAAAAAAAAAAB==:AAAAAAAAAAAAAAAAAAAAAA==',
    'sha256:14:8:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==',
  ])('%s is none, or costs more than may be', (word) => {
    expect(parseVerifier(word)).toBeUndefined();
  });
});

describe('a users file', () => {
  test('is read as it was written, names with odd signs too', async () => {
    const password = await makeVerifier(SECRET, 10);
    const users: User[] = [
      { name: 'ann', password, groups: new Set(['ops', 'night@2']) },
      { name: 'two words', password, groups: new Set() },
      { name: '#"\\', password: undefined, groups: new Set(['ops']) },
      { name: '+/#', password: undefined, groups: new Set() },
    ];
    const text = users.map((user) => `${writeUser(user)}\n`).join('');
    const { users: found } = await read(`# people\n\n${text}`);
    expect([...found.values()]).toEqual(users);
  });

  test.each([
    ['', 'has no user'],
    ['# nobody\n', 'has no user'],
    ['ann\nann\n', ':2: the user is there twice'],
    ['ann secret123\n', ':1: behind the name stand'],
    ['ann groups:a groups:b\n', ':1: behind the name stand'],
    ['ann groups:a,,b\n', ':1: a group has'],
    ['ann scrypt:1:2:3\n', ':1: the password is no scrypt word'],
    ['"a\\u0000b"\n', ':1: a user name has'],
  ])('S7: %j is refused', async (text, told) => {
    await expect(read(text)).rejects.toThrow(told);
  });

  test('S12: what is wrong is told without what the line holds', async () => {
    for (const text of ['ann hunter2\n', 'hunter2 "\n', 'ann scrypt:hunter2\n']) {
      await expect(read(text)).rejects.not.toThrow('hunter2');
    }
  });

  test('is changed in one line alone', () => {
    const text = '# keep\n"b b"  groups:x\na  groups:y\n\n# too\n';
    const changed = { name: 'b b', password: undefined, groups: new Set(['z']) };
    expect(editedUsers(text, 'b b', changed)).toBe(
      '# keep\n"b b"  groups:z\na  groups:y\n\n# too\n',
    );
    expect(editedUsers(text, 'b b', undefined)).toBe('# keep\na  groups:y\n\n# too\n');
    const added = { name: 'c', password: undefined, groups: new Set<string>() };
    expect(editedUsers(text, 'c', added)).toBe(`${text}c\n`);
    expect(editedUsers('', 'c', added)).toBe('c\n');
  });
});
