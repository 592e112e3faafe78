/**
 * The networks between nodes: a cut loses what one node sends to another and nothing else, says
 * nothing to either of them, and is over after the heal. The same for namespaces of the kernel
 * (where the machine allows them) and for the proxy.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Guard } from '../../jepsen/cluster/guard.ts';
import { Loopback } from '../../jepsen/cluster/loopback.ts';
import { Namespaces, whyNoNamespaces } from '../../jepsen/cluster/namespaces.ts';
import type { ClusterNetwork } from '../../jepsen/cluster/network.ts';
import { cutsOf } from '../../jepsen/nemesis/partition.ts';
import { runProgram } from '../../jepsen/cluster/run-program.ts';

const ROOT = join(import.meta.dirname, '../..');
const GUARD = join(ROOT, 'dist/jepsen/cluster/guard-main.js');
const noNamespaces = await whyNoNamespaces();

/** Listens, and says each line that it hears with the name of who said it. */
const SERVER = `
  const [host, port] = process.argv.slice(1);
  require('node:net').createServer((socket) => {
    require('node:readline').createInterface({ input: socket }).on('line', (line) => {
      console.log('heard ' + line);
      socket.write('echo ' + line + '\\n');
    });
  }).listen(Number(port), host, () => console.log('listening'));`;
/** Connects, says what comes on its standard input, and tells what it hears and what goes wrong. */
const CLIENT = `
  const [host, port] = process.argv.slice(1);
  const socket = require('node:net').connect(Number(port), host, () => console.log('connected'));
  process.stdin.pipe(socket);
  require('node:readline').createInterface({ input: socket }).on('line', (l) => console.log(l));
  socket.on('error', (error) => console.log('error ' + error.code));
  socket.on('close', () => console.log('closed'));`;

class Program {
  readonly #child: ChildProcess;
  readonly lines: string[] = [];

  constructor(prefix: readonly string[], code: string, args: readonly string[]) {
    const [program = '', ...rest] = [...prefix, process.execPath, '-e', code, '--', ...args];
    this.#child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('no output');
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.lines.push(line));
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async says(line: string): Promise<void> {
    while (!this.lines.includes(line)) {
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      await once(this.#child, 'exit');
    }
  }
}

const NODES = ['n1', 'n2', 'n3'];
const networks = [
  { name: 'a proxy', skip: false, make: () => Loopback.create(NODES, 'a test') },
  {
    name: 'namespaces',
    skip: noNamespaces !== undefined,
    make: (guard: Guard) => Namespaces.create(NODES, guard),
  },
];

describe.each(networks)('cuts by $name', ({ skip, make }) => {
  let directory = '';
  let guard: Guard;
  let network: ClusterNetwork;
  let programs: Program[] = [];

  beforeEach(async () => {
    if (skip) return;
    directory = await mkdtemp(join(tmpdir(), 'fluxmq-network-'));
    guard = await Guard.start(directory, GUARD);
    network = await make(guard);
  });
  afterEach(async () => {
    if (skip) return;
    await Promise.all(programs.map((program) => program.end()));
    programs = [];
    await network.close();
    await guard.close();
    await rm(directory, { recursive: true, force: true });
  });

  async function server(node: string): Promise<Program> {
    const { host, port } = network.addresses(node).peer;
    const program = new Program(network.onNode(node), SERVER, [host, String(port)]);
    programs.push(program);
    await program.says('listening');
    return program;
  }

  async function client(from: string, to: string): Promise<Program> {
    const { host, port } = network.peerAddress(from, to);
    const program = new Program(network.onNode(from), CLIENT, [host, String(port)]);
    programs.push(program);
    await program.says('connected');
    return program;
  }

  it.skipIf(skip)('lose one direction silently, and end with the heal', async () => {
    const heard = await server('n2');
    const [cut, other] = [await client('n1', 'n2'), await client('n3', 'n2')];
    cut.say('before');
    await cut.says('echo before');

    await network.cut('n1', 'n2');
    cut.say('during');
    // What comes behind it from elsewhere shows that it is not merely late.
    other.say('elsewhere');
    await other.says('echo elsewhere');
    other.say('again');
    await other.says('echo again');
    expect(heard.lines).not.toContain('heard during');

    await network.heal();
    await cut.says('echo during');
    expect(cut.lines).toEqual(['connected', 'echo before', 'echo during']);
  });

  it.skipIf(skip)('let what comes back through when one way is cut', async () => {
    const heard = await server('n2');
    const cut = await client('n1', 'n2');
    await network.cut('n2', 'n1');
    cut.say('one way');
    await heard.says('heard one way');
    expect(cut.lines).toEqual(['connected']);
    await network.heal();
    await cut.says('echo one way');
  });
});

describe('the guard', () => {
  it('kills what a harness left that crashed, and removes its network', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fluxmq-guard-'));
    // A harness that makes a process, and a namespace where it may, and then dies of SIGKILL.
    const harness = `
      const { Guard } = await import('${ROOT}/dist/jepsen/cluster/guard.js');
      const { startTimeOf } = await import('${ROOT}/dist/jepsen/cluster/process-state.js');
      const { Namespaces } = await import('${ROOT}/dist/jepsen/cluster/namespaces.js');
      const { spawn } = await import('node:child_process');
      const { once } = await import('node:events');
      const guard = await Guard.start('${directory}');
      const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
      await once(child, 'spawn');
      guard.made('process ' + child.pid + ' ' + (await startTimeOf(child.pid)));
      if (${noNamespaces === undefined}) await Namespaces.create(['n1', 'n2'], guard);
      console.log('pid ' + child.pid);
      process.stdin.resume();`;
    const args = ['--input-type=module', '-e', harness];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as string[];
    const pid = Number(line?.replace('pid ', ''));
    const isThere = (): boolean => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    expect(isThere()).toBe(true);
    child.kill('SIGKILL');
    const links = async (): Promise<string> =>
      noNamespaces === undefined
        ? (await runProgram('ip', ['netns', 'list'])) + (await runProgram('ip', ['link', 'show']))
        : '';
    while (isThere() || (await links()).includes(`fj${child.pid}`)) {
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
    await rm(directory, { recursive: true, force: true });
  });
});

describe('partitions', () => {
  const five = ['a', 'b', 'c', 'd', 'e'];
  const reaches = (cuts: readonly (readonly [string, string])[], node: string): string =>
    five.filter((to) => !cuts.some(([from, other]) => from === node && other === to)).join('');

  it('cut what their name says', () => {
    expect(cutsOf('one', ['a', 'b', 'c'])).toEqual([
      ['a', 'b'],
      ['b', 'a'],
      ['a', 'c'],
      ['c', 'a'],
    ]);
    expect(
      cutsOf('leader', ['a', 'b', 'c'], 'b')
        .flat()
        .filter((id) => id === 'b'),
    ).toHaveLength(4);
    expect(five.map((node) => reaches(cutsOf('halves', five), node))).toEqual([
      'ab',
      'ab',
      'cde',
      'cde',
      'cde',
    ]);
    expect(cutsOf('one-way', ['a', 'b', 'c'])).toEqual([
      ['b', 'a'],
      ['c', 'a'],
    ]);
    expect(five.map((node) => reaches(cutsOf('bridge', five), node))).toEqual([
      'abcde',
      'abc',
      'abc',
      'ade',
      'ade',
    ]);
  });

  it('leave each node of a ring a majority, and no two the same', () => {
    const sets = five.map((node) => reaches(cutsOf('ring', five), node));
    expect(sets).toEqual(['abe', 'abc', 'bcd', 'cde', 'ade']);
  });
});
