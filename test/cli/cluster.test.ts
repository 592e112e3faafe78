/**
 * `fluxmq cluster` as a process, against a scripted node: what people and programs read, and that
 * each change goes on from what is there, whoever began it.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { NodeStatus } from '../../src/admin/cluster-port.ts';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { type FakeClusterAdmin, replica } from '../support/fake-cluster-admin.ts';
import { LeadingNode, follows, led, member } from './leading-node.ts';
import { Operator } from './operator.ts';
import type { Ended } from './run-cli.ts';

let operator: Operator;
let cluster: FakeClusterAdmin;
let node: LeadingNode;
const run = (...args: readonly string[]): Promise<Ended> => operator.run('cluster', ...args);
const told = (...args: readonly string[]): Promise<string> => operator.told('cluster', ...args);

beforeAll(async () => {
  operator = await Operator.started();
  ({ cluster } = operator);
  node = new LeadingNode(cluster);
});
afterAll(() => operator.remove());
beforeEach(() => node.begin());

const cellsOf = (line: string): string => line.trim().replaceAll(/ {2,}/g, '|');

describe('cluster status', () => {
  it('the leader tells of everybody, and a voter that is away is told first', async () => {
    node.setMembers([
      member('n1', { progress: undefined }),
      member('n2', { progress: follows(84) }),
      member('n3', { progress: follows(12, false) }),
      member('n4', { role: 'joining', progress: { ...follows(40), state: 'catch-up' } }),
    ]);
    const lines = (await told('status')).trimEnd().split('\n');
    expect(lines.slice(0, 2)).toEqual([
      'cluster c, shard 0: n1 leads in term 3, 3 voters',
      '  1 voter away; 0 more can go',
    ]);
    expect(lines.slice(3).map(cellsOf)).toEqual([
      'SHARD|NODE|MEMBER|ROLE|TERM|LAST|COMMITTED|APPLIED|LAG|STATE',
      '0|n1|voter|leader|3|90|88|90|0',
      '0|n2|voter|-|-|84|-|-|6',
      '0|n3|voter|-|-|12|-|-|78|away',
      '0|n4|joining|-|-|40|-|-|50|gets a checkpoint',
    ]);
  });

  it('a follower tells of itself and who leads, and invents nothing about the others', async () => {
    node.setReplica(replica());
    const lines = (await told('status')).trimEnd().split('\n');
    expect(lines[0]).toBe('cluster c, shard 0: n2 leads in term 3, 3 voters');
    expect(lines.slice(2).map(cellsOf)).toEqual([
      'SHARD|NODE|MEMBER|ROLE|TERM|LAST|COMMITTED|APPLIED|LAG|STATE',
      '0|n1|voter|follower|3|90|88|87|-',
      '0|n2|voter|leader|-|-|-|-|-',
      '0|n3|voter|-|-|-|-|-|-',
    ]);
  });

  it('a follower that reaches its leader tells what that one knows', async () => {
    node.setReplica(
      replica({
        leaderLast: 95,
        members: [
          member('n1', { progress: follows(90) }),
          member('n2', { progress: undefined }),
          member('n3', { progress: follows(40, false) }),
        ],
      }),
    );
    const lines = (await told('status')).trimEnd().split('\n');
    expect(lines[1]).toBe('  1 voter away; 0 more can go');
    expect(lines.slice(4).map(cellsOf)).toEqual([
      '0|n1|voter|follower|3|90|88|87|5',
      '0|n2|voter|leader|-|95|-|-|0',
      '0|n3|voter|-|-|40|-|-|55|away',
    ]);
  });

  it('says that nobody leads, and what that means', async () => {
    node.setReplica(replica({ leader: undefined, role: 'candidate' }));
    const text = await told('status');
    expect(text).toContain('shard 0: nobody leads in term 3');
    expect(text).toContain('nothing is committed before a majority');
  });

  it('of several nodes each speaks for itself, and one that is away is named', async () => {
    const other = await Operator.started();
    try {
      other.cluster.node = {
        ...cluster.node,
        node: 'n2',
        replicas: [replica({ id: 'n2', leader: 'n1' })],
      };
      const text = await told('status', '--with', other.folder, '--with', '/nowhere');
      expect(text).toContain('no answer: /nowhere');
      const lines = text.trimEnd().split('\n').map(cellsOf);
      expect(lines).toContain('0|n2|voter|follower|3|90|88|87|0');
      const objects = await operator.objects('cluster', 'status', '--with', other.folder);
      expect(objects.map((each) => (each as NodeStatus).node)).toEqual(['n1', 'n2']);
    } finally {
      await other.remove();
    }
  });

  it('tells programs everything, with names that stay', async () => {
    node.setMembers([member('n1', { progress: undefined }), member('n2')]);
    expect(await operator.objects('cluster', 'status')).toEqual([
      {
        node: 'n1',
        cluster: 'c',
        address: 'n1.example:7000',
        links: [],
        elsewhere: [],
        shards: [],
        replicas: [
          {
            shard: 0,
            id: 'n1',
            role: 'leader',
            term: 3,
            leader: 'n1',
            start: 1,
            last: 90,
            durable: 90,
            committed: 88,
            applied: 90,
            members_index: 0,
            members: [
              { id: 'n1', role: 'voter', address: 'n1.example:7000', progress: null },
              {
                id: 'n2',
                role: 'voter',
                address: 'n2.example:7000',
                progress: {
                  state: 'replicate',
                  match: 90,
                  active: true,
                  caught_up: true,
                  in_reserve: false,
                },
              },
            ],
            leader_last: 90,
            transfer_to: null,
            damaged_ranges: 0,
            tail_lost: false,
            state_lost: false,
            last_term: 3,
            survivors: [],
            rescued: null,
          },
        ],
      },
    ]);
  });

  it('a node that waits to be added tells how', async () => {
    node.setReplica(
      replica({ id: 'n1+17', leader: undefined, members: [member('n2'), member('n3')] }),
    );
    const text = await told('status');
    expect(text).toContain(
      'n1+17 is no member; at one that is: fluxmq cluster add n1+17 n1.example:7000',
    );
    expect(text.trimEnd().split('\n').map(cellsOf)).toContain(
      '0|n1+17|-|follower|3|90|88|87|-|no member',
    );
  });

  it('without any node it ends like every other command', async () => {
    const { code, stderr } = await operator.run('cluster', 'status', '--socket', '/nowhere/a.sock');
    expect(code).toBe(ExitCode.connection);
    expect(stderr).toContain('no broker runs here');
  });
});

describe('cluster add', () => {
  it('a learner first, a voter when it has caught up, each step told', async () => {
    node.promotesItself();
    const lines = (await told('add', 'n4', 'n4.example:7000')).trimEnd().split('\n');
    expect(lines).toEqual([
      'shard 0, n4: added as a learner, which gets what the others have',
      'shard 0, n4: catches up: has entry 90 of 90',
      'shard 0, n4: is a voter',
    ]);
    expect(cluster.asked).toEqual([
      '0 {"kind":"add","id":"n4","address":"n4.example:7000","votes":true}',
    ]);
  });

  it('given again it does nothing twice, and goes on where the first one ended', async () => {
    node.plays();
    node.setMembers([...node.members, member('n4', { role: 'learner' })]);
    await told('add', 'n4', 'n4.example:7000');
    expect(cluster.asked).toEqual(['0 {"kind":"promote","id":"n4"}']);
    expect(await told('add', 'n4', 'n4.example:7000')).toBe('shard 0, n4: is a voter\n');
    expect(cluster.asked).toHaveLength(1);
  });

  it('--learner ends with a learner', async () => {
    node.plays();
    const text = await told('add', 'n4', 'n4.example:7000', '--learner');
    expect(text).toContain('shard 0, n4: is a learner\n');
  });

  it('a node that does not answer is named with its address, and the time is bounded', async () => {
    node.setMembers([
      ...node.members,
      member('n4', { role: 'joining', progress: follows(0, false) }),
    ]);
    const { code, stdout, stderr } = await run('add', 'n4', 'x:1', '--within', '300ms');
    expect(code).toBe(ExitCode.timeout);
    expect(stdout).toContain('does not answer at n4.example:7000: start it');
    expect(stderr).toContain('give the command again, and it goes on');
  });

  it('what passes by itself is waited for', async () => {
    node.promotesItself();
    cluster.answers.push(
      { kind: 'refused', code: 'not-ready', leader: 'n1' },
      { kind: 'refused', code: 'pending', leader: 'n1' },
    );
    const text = await told('add', 'n4', 'n4.example:7000');
    expect(text).toContain('waits: the leader has committed nothing in its term yet');
    expect(text).toContain('waits: another change is not committed yet');
    expect(text).toContain('is a voter');
  });

  it('is told to programs step by step', async () => {
    node.promotesItself();
    expect(await operator.objects('cluster', 'add', 'n4', 'n4.example:7000')).toEqual([
      { step: 'add-asked', shard: 0, node: 'n4' },
      { step: 'catching-up', shard: 0, node: 'n4', match: 90, last: 90 },
      { step: 'voter', shard: 0, node: 'n4' },
    ]);
  });

  it('not the leader: it goes to that one', async () => {
    node.promotesItself();
    node.setReplica(replica({ leaderLast: 90, applied: 90, members: led().members }));
    const lines = (await told('add', 'n4', 'n4.example:7000')).trimEnd().split('\n');
    expect(lines.at(-1)).toBe('shard 0, n4: is a voter');
  });

  it('a node that waits to be added cannot say who is added', async () => {
    node.setReplica(replica({ id: 'n1+17', leader: undefined }));
    const { code, stderr } = await run('add', 'n4', 'n4.example:7000');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n1+17 is no member: give this command at one that is (not-member)');
    expect(cluster.asked).toEqual([]);
  });

  it.each([
    ['alone', 'cluster.listen is off'],
    ['invalid', 'its address as host:port'],
    ['unprotected', 'without TLS'],
  ] as const)('the refusal %s is explained', async (code, words) => {
    cluster.answers.push({ kind: 'refused', code, leader: undefined });
    const ended = await run('add', 'n4', 'n4.example:7000');
    expect(ended.code).toBe(ExitCode.refused);
    expect(ended.stderr).toContain(words);
    expect(ended.stderr).toContain(`(${code})`);
  });
});

describe('cluster remove', () => {
  it('asks first, and without a terminal wants --yes', async () => {
    const { code, stderr } = await run('remove', 'n3');
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('2 voters would be left, of which 2 must answer');
    expect(cluster.asked).toEqual([]);
  });

  it('removes, and given again it finds it done', async () => {
    node.plays();
    const gone = 'shard 0, n3: is no member\n';
    expect(await told('remove', 'n3', '--yes')).toBe(`shard 0, n3: removed\n${gone}`);
    expect(await told('remove', 'n3', '--yes')).toBe(gone);
    expect(cluster.asked).toHaveLength(1);
  });

  it('never leaves voters of which no majority answers', async () => {
    node.setMembers([
      member('n1', { progress: undefined }),
      member('n2', { progress: follows(1, false) }),
      member('n3'),
    ]);
    const { code, stderr } = await run('remove', 'n3', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('(away: n2)');
    expect(cluster.asked).toEqual([]);
  });
});

describe('cluster replace', () => {
  it('the new one votes before the old one goes', async () => {
    node.promotesItself();
    const text = await told('replace', 'n3', 'n4', 'n4.example:7000', '--yes');
    expect(text.trimEnd().split('\n')).toEqual([
      'shard 0, n4: added as a learner, which gets what the others have',
      'shard 0, n4: catches up: has entry 90 of 90',
      'shard 0, n4: is a voter',
      'shard 0, n3: removed',
      'shard 0, n3: is no member',
    ]);
    // Given once more it is done already.
    const again = await told('replace', 'n3', 'n4', 'n4.example:7000', '--yes');
    expect(again).toBe('shard 0, n4: is a voter\nshard 0, n3: is no member\n');
  });

  it("a name that is nobody's is refused, and nobody is added in its place", async () => {
    const { code, stderr } = await run('replace', 'm3', 'n4', 'n4.example:7000', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('m3 is no member, so there is nothing to replace');
    expect(stderr).toContain('members are n1, n2, n3; to add n4 all the same: fluxmq cluster add');
    expect(cluster.asked).toEqual([]);
  });
});

describe('cluster transfer', () => {
  it('ends when the other one leads', async () => {
    cluster.transferred = (to) => node.setReplica(replica({ leader: to }));
    expect(await told('transfer', 'n2')).toBe(
      'shard 0, n2: n1 hands over to it\nshard 0, n2: leads\n',
    );
    expect(await told('transfer', 'n2')).toBe('shard 0, n2: leads\n');
    // The last word to it each time: that it was chosen.
    expect(new Set(cluster.asked)).toEqual(new Set(['0 transfer n2']));
    expect(cluster.asked).toHaveLength(3);
  });

  it('a voter that did not take over is asked again', async () => {
    let asked = 0;
    cluster.transferred = (to) => {
      asked += 1;
      if (asked === 2) node.setReplica(replica({ leader: to }));
    };
    const text = await told('transfer', 'n2');
    expect(text).toContain('has not taken over: asked again');
    expect(cluster.asked).toHaveLength(3);
  });

  it('who does not vote cannot lead', async () => {
    cluster.answers.push({ kind: 'refused', code: 'not-voter', leader: 'n1' });
    const { code, stderr } = await run('transfer', 'n9');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('it does not vote (not-voter)');
  });
});
