/** `fluxmq config check`: every problem, or that it is sound; and the values in force. */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { parseConfig } from '../../src/config/config.ts';
import { writeConfig } from '../../src/config/written.ts';
import { scratchDirectory } from '../support/broker-process.ts';
import { fluxmq } from './run-cli.ts';

let folder = '';
beforeAll(async () => {
  folder = await scratchDirectory('config-check');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, yaml: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(folder, { recursive: true });
  await writeFile(path, yaml);
  return path;
}

const GOOD = `data_dir: /var/lib/fluxmq
queues:
  - name: orders
    message_ttl: 1h30m
    max_length: { messages: 10, overflow: drop-head }
  - name: "007"
    type: stream
    topics: ['$queue/007/#', 'm/#']
    retention: { age: 7d, bytes: 10GiB }
`;

describe('config check', () => {
  it('a sound one is called so', async () => {
    const path = await file('good.yaml', GOOD);
    const { code, stdout } = await fluxmq(['config', 'check', path]);
    expect([code, stdout]).toEqual([
      ExitCode.ok,
      `${path} is sound: MQTT on 127.0.0.1:1883, 2 queues, data in /var/lib/fluxmq\n`,
    ]);
  });

  it('every problem is told with its place; for programs one a line', async () => {
    const path = await file('bad.yaml', 'data_dri: x\nlog:\n  level: loud\n');
    const people = await fluxmq(['config', 'check', path]);
    expect(people.code).toBe(ExitCode.usage);
    expect(people.stdout).toBe('');
    expect(people.stderr.split('\n').slice(1, 3)).toEqual([
      `${path}:1:1: data_dri: unknown key: did you mean data_dir?`,
      expect.stringContaining(`${path}:3:10: log.level: 'loud' is not one of`),
    ]);
    const programs = await fluxmq(['config', 'check', path, '--json']);
    expect(programs.code).toBe(ExitCode.usage);
    const [first, second] = programs.stdout.trimEnd().split('\n');
    expect(JSON.parse(first ?? '')).toEqual({
      code: 'unknown-key',
      source: path,
      line: 1,
      column: 1,
      key: 'data_dri',
      text: 'unknown key: did you mean data_dir?',
    });
    expect(JSON.parse(second ?? '')).toMatchObject({ code: 'wrong-value', line: 3 });
  });

  it('a file that is not there is a problem of its own', async () => {
    const { code, stderr } = await fluxmq(['config', 'check', join(folder, 'none.yaml')]);
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('cannot be read');
  });

  it('--show prints a file that means the same, --set included', async () => {
    const path = await file('show.yaml', GOOD);
    const { stdout } = await fluxmq(['config', 'check', path, '--show', '--set', 'node.id=n-7']);
    const shown = parseConfig({ file: { name: 'shown', yaml: stdout } });
    const meant = parseConfig({ file: { name: path, yaml: GOOD }, overrides: ['node.id=n-7'] });
    expect(shown).toEqual(meant);
  });
});

describe('a configuration written out', () => {
  it.each([
    ['the defaults', {}],
    ['values that YAML would take for something else', { overrides: ['node.id=1e3'] }],
    ['off and auto', { overrides: ['server.ops.addr=off', 'storage.reserve=2GiB'] }],
  ])('%s: is read back as it was', (_what, source) => {
    const config = parseConfig(source);
    const yaml = writeConfig(config);
    expect(parseConfig({ file: { name: 'written', yaml } })).toEqual(config);
  });
});
