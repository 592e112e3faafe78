/** `fluxmq cluster rescue` as a process, against a scripted node: what is shown, asked and told. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ReplicaStatus } from '../../src/admin/cluster-port.ts';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { type FakeClusterAdmin, replica } from '../support/fake-cluster-admin.ts';
import { Operator } from './operator.ts';
import type { Ended } from './run-cli.ts';

let operator: Operator;
let cluster: FakeClusterAdmin;
const run = (...args: readonly string[]): Promise<Ended> => operator.run('cluster', ...args);
const told = (...args: readonly string[]): Promise<string> => operator.told('cluster', ...args);

beforeAll(async () => {
  operator = await Operator.started();
  ({ cluster } = operator);
});
afterAll(() => operator.remove());

function setReplica(more: Partial<ReplicaStatus>): void {
  cluster.node = { ...cluster.node, replicas: [replica(more)] };
}

describe('cluster rescue', () => {
  const givenUp = ['n1', 'n2', 'n3'];
  const rescued = { by: 'op@desk', atMs: 5, lastIndex: 90, lastTerm: 3, givenUp };
  const order = ['rescue', '--give-up', 'n2', '--give-up', 'n3', '--i-accept-loss'] as const;

  beforeEach(() => {
    const survivors = [{ id: 'n2', last: 95, lastTerm: 3, isCovered: false }];
    cluster.asked.length = 0;
    cluster.answers.length = 0;
    setReplica({ role: 'pre-candidate', leader: undefined, survivors });
    cluster.rescued = () =>
      setReplica({
        id: 'n1+7',
        role: 'leader',
        leader: 'n1+7',
        membersIndex: 91,
        committed: 92,
        rescued,
      });
  });

  it('shows what is known and with which command it would be done, and does nothing', async () => {
    for (const words of [
      ['rescue'],
      ['rescue', '--i-accept-loss'],
      ['rescue', '--give-up', 'n2'],
    ]) {
      const { code, stdout, stderr } = await run(...words);
      expect(code).toBe(ExitCode.usage);
      expect(stdout.trimEnd().split('\n')).toEqual([
        'shard 0: nobody leads',
        '  n1, this node: its log ends with entry 90 of term 3',
        '  n2, voter at n2.example:7000: is heard, its log ends with entry 95 of term 3 ' +
          '(more than this node has, or may have)',
        '  n3, voter at n3.example:7000: is not heard',
      ]);
      expect(stderr).toContain('rescue --shard 0 --give-up n2 --give-up n3 --i-accept-loss');
    }
    expect(cluster.asked).toEqual([]);
  });

  it('waits while the node listens, is done when that leads, and tells the record', async () => {
    cluster.answers.push({ kind: 'refused', code: 'listening', leader: undefined });
    const lines = (await told(...order)).trimEnd().split('\n');
    expect(lines.slice(-4)).toEqual([
      'shard 0: n1+7 leads alone; everything up to entry 92 is there',
      '  rescued by op@desk behind entry 90 of term 3',
      '  nobody takes part any more as n1, n2, n3',
      '  now add nodes with empty directories: fluxmq cluster add ID HOST:PORT',
    ]);
    expect(cluster.asked).toHaveLength(2);
    expect(cluster.asked[0]).toMatch(/^0 rescue \{"by":"[^"]+@[^"]+","giveUp":\["n2","n3"\]/);
    const { stdout } = await run('status');
    expect(stdout).toContain('rescued by op@desk at 1970-01-01T00:00:00.005Z behind entry 90');
  });

  it('of shard 0 it says who is a host of the others still', async () => {
    const places = [{ shard: 1, founders: ['n1', 'n2'], hosts: ['n1', 'n2'] }];
    cluster.node = { ...cluster.node, shards: places };
    const lines = (await told(...order)).trimEnd().split('\n');
    expect(lines.at(-1)).toBe('  n2 is a host of other shards still: fluxmq cluster remove n2');
    cluster.node = { ...cluster.node, shards: [] };
  });

  it('is told to programs in one line', async () => {
    expect(await operator.objects('cluster', ...order)).toEqual([
      {
        step: 'rescued',
        shard: 0,
        node: 'n1+7',
        committed: 92,
        by: 'op@desk',
        at_ms: 5,
        last_index: 90,
        last_term: 3,
        given_up: ['n1', 'n2', 'n3'],
      },
    ]);
  });

  it.each(['quorum', 'shorter-log', 'not-named', 'has-leader'] as const)(
    'ends with the word of the node: %s',
    async (code) => {
      cluster.answers.push({ kind: 'refused', code, leader: undefined });
      const ended = await run(...order);
      expect(ended.code).toBe(ExitCode.refused);
      expect(ended.stderr).toContain(`nothing was done: `);
      expect(ended.stderr).toContain(`(${code})`);
    },
  );
});
