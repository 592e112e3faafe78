import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Verdict } from '../../jepsen/checkers/verdict.ts';
import { judge } from '../../jepsen/judge.ts';
import { HistoryBuilder } from '../support/jepsen-history.ts';

const BEGAN = '2026-11-27T10:00:00.000Z';
const NODES = ['n1', 'n2', 'n3'];

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'judge-'));
});
afterEach(() => rm(directory, { recursive: true }));

function leads(leader: string): string {
  const told = { time: BEGAN, shard: 0, leader, message: 'the leader of the shard' };
  return `${JSON.stringify(told)}\n`;
}

/** The order of deliveries of a run in which two members of a group got them out of order. */
async function orderWhere(logOf: (node: string) => string): Promise<Verdict | undefined> {
  const history = new HistoryBuilder().phase('load').attach().attach('d');
  const { operations } = history.dequeue('a/1', 1).dequeue('a/0', 0);
  const lines = operations.map((operation) => JSON.stringify(operation));
  await writeFile(join(directory, 'history.jsonl'), `${lines.join('\n')}\n`);
  const run = { nodes: 3, nemeses: [], began: BEGAN, places: [{ shard: 0, nodes: NODES }] };
  await writeFile(join(directory, 'run.json'), JSON.stringify(run));
  for (const node of NODES) {
    const own = join(directory, 'nodes', node);
    await mkdir(own, { recursive: true });
    await writeFile(join(own, 'broker.log'), logOf(node));
    await writeFile(join(own, 'entries-0.jsonl'), '');
  }
  await judge(directory);
  const results: unknown = JSON.parse(await readFile(join(directory, 'results.json'), 'utf8'));
  const { verdicts } = results as { verdicts: readonly Verdict[] };
  return verdicts.find(({ checker }) => checker === 'delivery-order');
}

it('knows from the logs of the brokers when a lead moved', async () => {
  const moved = await orderWhere((node) => (node === 'n2' ? leads('n1') + leads('here') : ''));
  expect(moved).toMatchObject({ valid: true, figures: { excused: 1 } });
});

it('excuses nothing where no lead moved', async () => {
  const stayed = await orderWhere((node) => leads(node === 'n1' ? 'here' : 'n1'));
  expect(stayed).toMatchObject({ valid: false, figures: { excused: 0 } });
});
