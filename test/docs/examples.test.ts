/**
 * The examples of README.md and of some pages of docs/, run as they stand against a real broker
 * process with the default configuration: one broker a page, its blocks in order. Only port and
 * data directory are others, and `npx fluxmq` is the launcher that npx would find.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrokerProcess, REPOSITORY } from '../support/broker-process.ts';
import { documentedBlocks, outputPattern, strayOutputs } from './documented-blocks.ts';
import type { DocumentedBlock, Language } from './documented-blocks.ts';

const PAGES = ['README.md', 'docs/mqtt.md', 'docs/queues.md', 'docs/cli.md'];
const LAUNCHER = join(REPOSITORY, 'src/cli/fluxmq.sh');
const DEFAULT_PORT = 1883;
const PAGE_MS = 240_000;

/** The same with the port of the broker under test. */
function withPort(source: string, language: Language, broker: BrokerProcess): string {
  const { port, dataDirectory } = broker;
  const moved = source.replaceAll(`127.0.0.1:${DEFAULT_PORT}`, `127.0.0.1:${port}`);
  if (language === 'js') return moved;
  return moved
    .replaceAll(/\bmosquitto_(pub|sub)\b/g, `mosquitto_$1 -p ${port}`)
    .replaceAll(/\bnpx fluxmq (pub|sub)\b/g, `npx fluxmq $1 -p ${port}`)
    .replaceAll(
      /\bnpx fluxmq (queue|group|cluster) (\w+)\b/g,
      `npx fluxmq $1 $2 --data '${dataDirectory}'`,
    )
    .replaceAll(/\bnpx fluxmq\b/g, `'${LAUNCHER}'`);
}

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

async function runProgram(program: string, args: readonly string[]): Promise<Ended> {
  const child = spawn(program, args, { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  await once(child, 'close');
  return { stdout, stderr, status: child.exitCode };
}

async function runBlock(block: DocumentedBlock, broker: BrokerProcess): Promise<Ended> {
  const source = withPort(block.source, block.language, broker);
  if (block.language === 'sh') return runProgram('bash', ['-euo', 'pipefail', '-c', source]);
  // Below the package, so that it finds the client that it imports.
  const file = join(broker.dataDirectory, '..', `line-${block.line}.mjs`);
  await writeFile(file, source);
  return runProgram(process.execPath, [file]);
}

describe.each(PAGES)('%s', (page) => {
  let broker: BrokerProcess;
  let markdown = '';

  beforeAll(async () => {
    markdown = await readFile(join(REPOSITORY, page), 'utf8');
    broker = await BrokerProcess.started('docs');
  });

  afterAll(async () => {
    await broker.remove();
  });

  // Each command is a process of its own.
  it('every example does what the page says', { timeout: PAGE_MS }, async () => {
    const blocks = documentedBlocks(markdown);
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) {
      const ended = await runBlock(block, broker);
      const where = `${page}:${block.line}\n${ended.stderr}`;
      expect(ended.status, where).toBe(0);
      if (block.output !== undefined) {
        expect(ended.stdout, where).toMatch(outputPattern(block.output));
      }
    }
  });

  it('no expected output stands alone', () => {
    expect(strayOutputs(markdown)).toEqual([]);
  });
});

describe('what is read from a page', () => {
  it('a block is run, its neighbour is what it must print, others are left alone', () => {
    const page = ['```sh test', 'a', '```', '', '```text output', 'b', '```', '```sh', 'c', '```'];
    expect(documentedBlocks(page.join('\n'))).toEqual([
      { language: 'sh', line: 1, source: 'a\n', output: 'b\n' },
    ]);
  });

  it('words between a block and an output part them, and the output is stray', () => {
    const page = ['```sh test', 'a', '```', 'words', '```text output', 'b', '```'].join('\n');
    expect(documentedBlocks(page)[0]?.output).toBeUndefined();
    expect(strayOutputs(page)).toEqual([5]);
  });

  it('an ellipsis is any text of one line, everything else is itself', () => {
    const pattern = outputPattern('{"id":"…"}\nx.y\n');
    expect('{"id":"1-2"}\nx.y\n').toMatch(pattern);
    expect('{"id":"1-2"}\nxzy\n').not.toMatch(pattern);
    expect('{"id":"1\n2"}\nx.y\n').not.toMatch(pattern);
  });
});
