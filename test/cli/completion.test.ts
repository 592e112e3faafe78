/** Completion: what could follow, and the scripts of the shells that ask for it. */

import { execFile } from 'node:child_process';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS, type CommandName, loadCommand } from '../../src/cli/commands.ts';
import { type Completion, candidates } from '../../src/cli/completion/candidates.ts';
import { ScriptedBroker } from '../support/admin-server.ts';
import { scratchDirectory } from '../support/broker-process.ts';
import { fakeDefinition } from '../support/fake-queue-admin.ts';
import { fluxmq } from './run-cli.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const LAUNCHER = join(REPOSITORY, 'src/cli/fluxmq.sh');
const run = promisify(execFile);

describe('what could follow', () => {
  const root = new Command('fluxmq');
  const asked: unknown[] = [];
  const names = {
    queues: (flags: object) => {
      asked.push(flags);
      return Promise.resolve(['$dlq/orders', 'bills', 'orders']);
    },
    groups: (_flags: object, queue: string) => Promise.resolve([`group of ${queue}`]),
    users: ({ file }: { readonly file?: string }) => Promise.resolve([`user of ${file}`]),
  };

  beforeAll(async () => {
    const light: CommandName[] = [
      'queue',
      'group',
      'config',
      'completion',
      'segment-dump',
      'pub',
      'user',
      'acl',
      'cert',
    ];
    for (const name of light) root.addCommand(await loadCommand(name));
    root.addCommand(new Command('secret'), { hidden: true });
  });

  async function values(...words: string[]): Promise<string[] | Completion> {
    const found = await candidates(root, words, names);
    return typeof found === 'string' ? found : found.map(({ value }) => value);
  }

  it.each([
    [['q'], ['queue']],
    [['se'], ['segment-dump']],
    [['queue', 'pu'], ['purge']],
    [['us'], ['user']],
    [
      ['user', ''],
      ['add', 'remove', 'list', 'help'],
    ],
    [['user', 'remove', '-f', 'people', ''], ['user of people']],
    [['user', 'list', '--file', ''], 'files'],
    [
      ['acl', 'test', 'ann', ''],
      ['publish', 'subscribe', 'consume', 'declare', 'admin'],
    ],
    [['acl', 'test', 'ann', 'publish', 't', '--rules', ''], 'files'],
    [['queue', 'nope', ''], []],
    [
      ['queue', 'show', ''],
      ['$dlq/orders', 'bills', 'orders'],
    ],
    [['queue', 'show', 'o'], ['orders']],
    [['queue', 'show', 'orders', ''], []],
    [['queue', 'move', 'orders', 'b'], ['bills']],
    [['queue', 'seek', 'orders', ''], ['group of orders']],
    [['queue', 'seek', 'orders', 'g', 'l'], ['last']],
    [['queue', 'purge', 'orders', '--group', ''], ['group of orders']],
    [['queue', 'purge', '--yes', 'b'], ['bills']],
    [['queue', 'list', '--wa'], ['--watch']],
    [['queue', 'declare', 'x', '--type', 's'], ['stream']],
    [['queue', 'declare', 'x', '--type=s'], ['--type=stream']],
    [
      ['queue', 'declare', 'x', '--dlq', 'o'],
      ['off', 'orders'],
    ],
    [['queue', 'declare', 'x', '--max-m'], ['--max-messages']],
    [['queue', 'show', '--', '-'], []],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
  ])('%j: %j', async (words, expected) => {
    expect(await values(...words)).toEqual(expected);
  });

  it.each([
    [['config', 'check', ''], 'files'],
    [['queue', 'list', '--config', 'x'], 'files'],
    [['queue', 'list', '--data', ''], 'folders'],
    [['cert', 'node', 'n', '--dir', ''], 'folders'],
    [['cert', 'show', ''], 'files'],
    [['segment-dump', ''], 'files'],
  ])('%j: the %s of the shell', async (words, expected) => {
    expect(await values(...words)).toBe(expected);
  });

  it('asks the broker that the line names', async () => {
    asked.length = 0;
    await values('queue', 'show', '--data', '/a', '--config=b', '');
    expect(asked).toEqual([{ data: '/a', config: 'b' }]);
  });

  it('every option of every command has a word about it, and none is hidden', async () => {
    for (const name of Object.keys(COMMANDS) as CommandName[]) {
      const command = await loadCommand(name);
      for (const each of [command, ...command.commands]) {
        for (const { long, description, hidden } of each.options) {
          expect(hidden || description !== '', `${each.name()} ${long}`).toBe(true);
        }
      }
    }
  });
});

describe('the scripts', () => {
  it.each(['bash', 'zsh', 'fish'])('%s: it is one of that shell', async (shell) => {
    const { code, stdout } = await fluxmq(['completion', shell]);
    expect(code).toBe(0);
    const checking = run(shell, ['-n', join(REPOSITORY, `completions/fluxmq.${shell}`)]);
    await expect(checking).resolves.toMatchObject({ stderr: '' });
    expect(stdout).toContain('complete --');
  });

  it('an unknown shell is refused', async () => {
    const { code, stderr } = await fluxmq(['completion', 'csh']);
    expect(code).toBe(2);
    expect(stderr).toContain('bash, zsh, fish');
  });
});

describe('zsh and fish', () => {
  let folder = '';
  let env: NodeJS.ProcessEnv = {};

  beforeAll(async () => {
    folder = await scratchDirectory('shells');
    const program = join(folder, 'fluxmq');
    await writeFile(program, `#!/bin/sh\nexec '${LAUNCHER}' "$@"\n`);
    await chmod(program, 0o755);
    env = { ...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}` };
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('fish offers what could follow, each with its meaning, or files', async () => {
    const script = `source completions/fluxmq.fish
      complete -C 'fluxmq queue pu'
      complete -C 'fluxmq queue declare a --type '
      complete -C 'fluxmq config check package.j'`;
    const args = ['--no-config', '-c', script];
    const { stdout } = await run('fish', args, { cwd: REPOSITORY, env });
    expect(stdout.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^purge\t.+/),
      'classic',
      'ephemeral',
      'stream',
      'package.json',
    ]);
  });

  it('zsh too', async () => {
    // Outside its line editor: what the script hands to the completion system.
    const script = `
      compdef() { : }
      _files() { print -r -- files "$@" }
      compadd() { print -r -- "\${(j:,:)values} (\${(j:,:)shown})" }
      source completions/fluxmq.zsh
      words=(fluxmq queue pee); CURRENT=3; _fluxmq
      words=(fluxmq queue declare a --type ''); CURRENT=6; _fluxmq
      words=(fluxmq queue list --data ''); CURRENT=5; _fluxmq`;
    const { stdout } = await run('zsh', ['-f', '-c', script], { cwd: REPOSITORY, env });
    expect(stdout.trimEnd().split('\n')).toEqual([
      'peek (peek  Look at messages without consuming them.)',
      'classic,stream,ephemeral (classic,stream,ephemeral)',
      'files -/',
    ]);
  });
});

describe('bash, with a broker that runs', () => {
  let broker: ScriptedBroker;

  beforeAll(async () => {
    broker = await ScriptedBroker.started('complete');
    for (const name of ['orders', 'two words', "it's", 'a:b', 'a:c', '$dlq/orders']) {
      broker.admin.add(fakeDefinition(name), [{ name: 'audit' }]);
    }
  });
  afterAll(() => broker.remove());

  /** What bash would put in place of the word at the cursor, by its own rules of cutting words. */
  async function completed(line: string): Promise<string[]> {
    const script = `
      fluxmq() { '${LAUNCHER}' "$@"; }
      source '${join(REPOSITORY, 'completions/fluxmq.bash')}'
      COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
      COMP_LINE=$1; COMP_POINT=\${#1}; COMPREPLY=()
      _fluxmq
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await run('bash', ['-c', script, 'bash', line], { cwd: broker.folder });
    return stdout.split('\n').filter((each) => each !== '');
  }

  const here = (line: string): Promise<string[]> =>
    completed(line.replace('DATA', `--data ${broker.folder}`));

  it('commands and options', async () => {
    expect(await completed('fluxmq que')).toEqual(['queue']);
    expect(await completed('fluxmq queue declare a --type=st')).toEqual(['stream']);
  });

  it('names of queues, quoted so that bash takes them as they are', async () => {
    expect(await here('fluxmq queue show DATA ')).toEqual([
      '\\$dlq/orders',
      'a:b',
      'a:c',
      "it\\'s",
      'orders',
      'two\\ words',
    ]);
    expect(await here('fluxmq queue show DATA \\$d')).toEqual(['\\$dlq/orders']);
    expect(await here('fluxmq queue show DATA two\\ w')).toEqual(['two\\ words']);
    expect(await here('fluxmq queue show DATA a:')).toEqual(['b', 'c']);
    expect(await here('fluxmq group delete DATA orders ')).toEqual(['audit']);
  });

  it('where no broker runs there are no names, and no words of error', async () => {
    const started = performance.now();
    expect(await completed('fluxmq queue show --data /nowhere ')).toEqual([]);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});
