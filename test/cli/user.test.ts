/** `fluxmq user` and `fluxmq acl test`, as operators run them. */

import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scratchDirectory } from '../support/broker-process.ts';
import { type Ended, fluxmq } from './run-cli.ts';

let folder: string;
let config: string;
let users: string;
let rules: string;

beforeAll(async () => {
  folder = await scratchDirectory('users');
  [config, users, rules] = ['broker.yaml', 'users', 'rules'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await writeFile(config, `access: { users_file: ${users}, rules_file: ${rules} }\n`);
  const lines = ['deny user ann publish secret', 'allow group ops publish #', 'allow * consume *'];
  await writeFile(rules, `# rules\n${lines.join('\n')}\n`);
});

afterAll(() => rm(folder, { recursive: true }));

function user(args: readonly string[], input = ''): Promise<Ended> {
  return fluxmq(['user', ...args, '-c', config], input);
}

describe('fluxmq user', () => {
  it('add, list, replace, remove: one line of a file that its owner alone reads', async () => {
    const added = await user(['add', 'ann', '-g', 'ops', '--cost', '10'], 'tea for two\nrest');
    expect(added).toMatchObject({ code: 0, stderr: '' });
    expect(added.stdout).toBe('the user ann: added; a broker that runs takes it on SIGHUP\n');
    expect((await stat(users)).mode & 0o777).toBe(0o600);
    const first = await readFile(users, 'utf8');
    expect(first).toMatch(/^ann {2}scrypt:10:8:1:\S+ {2}groups:ops\n$/);
    await chmod(users, 0o640);
    await writeFile(users, `# people\n${first}`);
    expect((await user(['add', 'two words', '--without-password'])).code).toBe(0);
    const { stdout } = await user(['list']);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['USER', 'PASSWORD', 'GROUPS'],
      ['ann', 'set', 'ops'],
      ['two words', 'none'],
      [''],
    ]);
    expect((await user(['add', 'ann', '--replace', '--cost', '10'], 'other')).code).toBe(0);
    const after = await readFile(users, 'utf8');
    expect(after).toMatch(/^# people\nann {2}scrypt:\S+ {2}groups:ops\n"two words"\n$/);
    expect(after).not.toContain(first);
    expect((await stat(users)).mode & 0o777).toBe(0o640);
    const told = (await user(['list', '--json'])).stdout.split('\n')[0] ?? '';
    expect(JSON.parse(told)).toEqual({
      user: 'ann',
      password: true,
      scram: false,
      groups: ['ops'],
    });
    expect((await user(['remove', 'two words'])).code).toBe(0);
    expect(await readFile(users, 'utf8')).not.toContain('two words');
  });

  it('keys of SCRAM, where they are configured or asked for, and a key of decoys, once', async () => {
    const [file, other] = [join(folder, 'scram'), join(folder, 'scram.yaml')];
    const keys = `users_file: ${file}, rules_file: ${rules}`;
    await writeFile(other, `access: { ${keys}, scram: { enabled: true, iterations: 4096 } }\n`);
    const add = (args: readonly string[], input = 'tea'): Promise<Ended> =>
      fluxmq(['user', 'add', ...args, '--cost', '10'], input);
    expect(await add(['ann', '-c', other])).toMatchObject({ code: 0, stderr: '' });
    const asked = ['--scram', '--scram-iterations', '5000', '-f', file];
    expect(await add(['bob', ...asked])).toMatchObject({ code: 0, stderr: '' });
    const lines = (await readFile(file, 'utf8')).split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^%decoys {2}\S{44}$/),
      expect.stringMatching(/^ann {2}scrypt:\S+ {2}scram-sha-256:4096:\S+$/),
      expect.stringMatching(/^bob {2}scrypt:\S+ {2}scram-sha-256:5000:\S+$/),
      '',
    ]);
    expect((await add(['ann', '--replace', '--no-scram', '-c', other])).code).toBe(0);
    const { stdout } = await fluxmq(['user', 'list', '-f', file]);
    expect(stdout).toMatch(/\nann +set\nbob +set, scram\n$/);
    const { code, stderr } = await add(['dora', '-c', other], 'te\u0007a');
    expect(code).toBe(2);
    expect(stderr).toContain('SASLprep refuses the password');
  });

  it.each([
    [['add', 'ann'], 'x', 8, 'is there already'],
    [['add', 'bob'], '', 2, 'the password is empty'],
    [['add', 'bob'], 'x'.repeat(1025), 2, 'at most 1024 bytes'],
    [['add', 'bob', '--cost', '9'], 'x', 2, 'from 10 to 17'],
    [['add', 'bob', '-g', 'a,b'], 'x', 2, 'a group has'],
    [['add', ''], 'x', 2, 'a user name has'],
    [['remove', 'nobody'], '', 8, 'there is no user nobody'],
    [['add', 'bob', 'secret'], '', 2, 'too many arguments'],
  ])('%j is refused, and changes nothing', async (args, input, code, text) => {
    const before = await readFile(users, 'utf8');
    const ended = await user(args, input);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(text);
    expect(await readFile(users, 'utf8')).toBe(before);
  });

  it('changes nothing while somebody else does, and says what to do after a crash', async () => {
    await writeFile(`${users}.new`, '');
    const ended = await user(['add', 'carl', '--without-password']);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(`${users}.new is there`);
    await rm(`${users}.new`);
  });

  it('S12: a file that is wrong is told by its line, not by what it holds', async () => {
    const file = join(folder, 'wrong');
    await writeFile(file, 'ann hunter2\n');
    for (const args of [['list'], ['remove', 'ann']]) {
      const { code, stderr, stdout } = await fluxmq(['user', ...args, '-f', file]);
      expect(code).toBe(2);
      expect(stderr).toContain(`${file}:1: `);
      expect(stderr + stdout).not.toContain('hunter2');
    }
  });
});

describe('fluxmq acl test', () => {
  async function ask(...args: string[]): Promise<Ended> {
    return fluxmq(['acl', 'test', ...args, '-c', config]);
  }

  it.each([
    [['ann', 'publish', 'rooms/1'], 0, () => `allowed by ${rules}:3: allow group ops publish #`],
    [['ann', 'publish', 'secret'], 8, () => `denied by ${rules}:2: deny user ann publish secret`],
    [['ann', 'publish', '$queue/x'], 8, () => `denied: no rule of ${rules} is about it`],
    [['ann', 'consume', 'orders'], 0, () => `allowed by ${rules}:4`],
    [['-', 'subscribe', '$share/g/$queue/orders/eu/#'], 0, () => `allowed by ${rules}:4`],
    [['eve', 'publish', 'x'], 8, () => 'eve is no user of the users file'],
  ])('%j: exit code %s, and the rule that decides', async (args, code, text) => {
    const ended = await ask(...args);
    expect(ended.stdout).toContain(text());
    expect(ended).toMatchObject({ code, stderr: '' });
  });

  it('tells programs the same', async () => {
    const { stdout } = await ask('ann', 'publish', 'secret', '--json');
    expect(JSON.parse(stdout)).toEqual({
      allowed: false,
      action: 'publish',
      topic: 'secret',
      user_known: true,
      file: rules,
      line: 2,
      rule: 'deny user ann publish secret',
    });
  });

  it('needs rules', async () => {
    const ended = await fluxmq(['acl', 'test', 'ann', 'publish', 'x']);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain('no rules are named');
  });
});
