/**
 * `fluxmq cluster` as a process, against a scripted node: what people and programs read, and that
 * each change goes on from what is there, whoever began it.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MemberStatus, NodeStatus, ReplicaStatus } from '../../src/admin/cluster-port.ts';
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
beforeEach(() => {
  cluster.asked.length = 0;
  cluster.answers.length = 0;
  cluster.looked = () => undefined;
  cluster.changed = () => undefined;
  cluster.transferred = () => undefined;
  cluster.mapped = () => undefined;
  cluster.node = { ...cluster.node, elsewhere: [], shards: [] };
  setReplica(led());
});

function member(id: string, more: Partial<MemberStatus> = {}): MemberStatus {
  return { id, role: 'voter', address: `${id}.example:7000`, progress: follows(90), ...more };
}

function follows(match: number, active = true): NonNullable<MemberStatus['progress']> {
  return { state: 'replicate', match, active, caughtUp: active, inReserve: false };
}

/** This node, n1, leads three voters. */
function led(more: Partial<ReplicaStatus> = {}): ReplicaStatus {
  const members = [member('n1', { progress: undefined }), member('n2'), member('n3')];
  const all = { leaderLast: 90, applied: 90 };
  return replica({ role: 'leader', leader: 'n1', ...all, members, ...more });
}

function setReplica(one: ReplicaStatus): void {
  cluster.node = { ...cluster.node, replicas: [one] };
}

function setMembers(members: readonly MemberStatus[]): void {
  setReplica({ ...(cluster.node.replicas[0] ?? led()), members });
}

function membersNow(): readonly MemberStatus[] {
  return cluster.node.replicas[0]?.members ?? [];
}

const cellsOf = (line: string): string => line.trim().replaceAll(/ {2,}/g, '|');

describe('cluster status', () => {
  it('the leader tells of everybody, and a voter that is away is told first', async () => {
    setMembers([
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
    setReplica(replica());
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
    setReplica(
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
    setReplica(replica({ leader: undefined, role: 'candidate' }));
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
    setMembers([member('n1', { progress: undefined }), member('n2')]);
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
    setReplica(replica({ id: 'n1+17', leader: undefined, members: [member('n2'), member('n3')] }));
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

/** The node as it would go on: what is asked for is there at the next look. */
function plays(): void {
  cluster.changed = (change) => {
    const rest = membersNow().filter(({ id }) => id !== change.id);
    if (change.kind === 'remove') setMembers(rest);
    if (change.kind === 'add') {
      setMembers([...rest, member(change.id, { role: change.votes ? 'joining' : 'learner' })]);
    }
    if (change.kind === 'promote') setMembers([...rest, member(change.id)]);
  };
}

/** A joining member becomes a voter after the first look at it. */
function promotesItself(): void {
  plays();
  cluster.looked = () => {
    setMembers(membersNow().map((each) => (each.role === 'joining' ? member(each.id) : each)));
  };
}

describe('cluster add', () => {
  it('a learner first, a voter when it has caught up, each step told', async () => {
    promotesItself();
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
    plays();
    setMembers([...membersNow(), member('n4', { role: 'learner' })]);
    await told('add', 'n4', 'n4.example:7000');
    expect(cluster.asked).toEqual(['0 {"kind":"promote","id":"n4"}']);
    expect(await told('add', 'n4', 'n4.example:7000')).toBe('shard 0, n4: is a voter\n');
    expect(cluster.asked).toHaveLength(1);
  });

  it('--learner ends with a learner', async () => {
    plays();
    const text = await told('add', 'n4', 'n4.example:7000', '--learner');
    expect(text).toContain('shard 0, n4: is a learner\n');
  });

  it('a node that does not answer is named with its address, and the time is bounded', async () => {
    setMembers([...membersNow(), member('n4', { role: 'joining', progress: follows(0, false) })]);
    const { code, stdout, stderr } = await run('add', 'n4', 'x:1', '--within', '300ms');
    expect(code).toBe(ExitCode.timeout);
    expect(stdout).toContain('does not answer at n4.example:7000: start it');
    expect(stderr).toContain('give the command again, and it goes on');
  });

  it('what passes by itself is waited for', async () => {
    promotesItself();
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
    promotesItself();
    expect(await operator.objects('cluster', 'add', 'n4', 'n4.example:7000')).toEqual([
      { step: 'add-asked', shard: 0, node: 'n4' },
      { step: 'catching-up', shard: 0, node: 'n4', match: 90, last: 90 },
      { step: 'voter', shard: 0, node: 'n4' },
    ]);
  });

  it('not the leader: it goes to that one', async () => {
    promotesItself();
    setReplica(replica({ leaderLast: 90, applied: 90, members: led().members }));
    const lines = (await told('add', 'n4', 'n4.example:7000')).trimEnd().split('\n');
    expect(lines.at(-1)).toBe('shard 0, n4: is a voter');
  });

  it('a node that waits to be added cannot say who is added', async () => {
    setReplica(replica({ id: 'n1+17', leader: undefined }));
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
    plays();
    const gone = 'shard 0, n3: is no member\n';
    expect(await told('remove', 'n3', '--yes')).toBe(`shard 0, n3: removed\n${gone}`);
    expect(await told('remove', 'n3', '--yes')).toBe(gone);
    expect(cluster.asked).toHaveLength(1);
  });

  it('never leaves voters of which no majority answers', async () => {
    setMembers([
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
    promotesItself();
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
    cluster.transferred = (to) => setReplica(replica({ leader: to }));
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
      if (asked === 2) setReplica(replica({ leader: to }));
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

/** A shard 1 on some nodes, whose replicas follow the map at once; another node leads it. */
function hasShard(hosts: readonly string[]): void {
  const set = (now: readonly string[]): void => {
    const members = now.map((id) => member(id, id === now[0] ? { progress: undefined } : {}));
    const told = replica({ shard: 1, id: now[0] ?? '', role: 'leader', leaderLast: 90, members });
    const place = { shard: 1, founders: hosts, hosts: now };
    const elsewhere = [{ ...told, leader: now[0] }];
    cluster.node = { ...cluster.node, shards: [place], elsewhere };
  };
  set(hosts);
  cluster.mapped = (_shard, node = '', isHost) => {
    const now = cluster.node.shards[0]?.hosts ?? [];
    const others = now.filter((each) => each !== node);
    set(isHost ? [...others, node] : others);
  };
}

describe('shards beside the first one', () => {
  it('status tells of each, also where this node has no replica', async () => {
    hasShard(['n2', 'n3']);
    const lines = (await told('status')).trimEnd().split('\n');
    expect(lines.slice(0, 2)).toEqual([
      'cluster c, shard 0: n1 leads in term 3, 3 voters',
      'cluster c, shard 1: n2 leads in term 3, 2 voters',
    ]);
    expect(lines.map(cellsOf)).toContain('1|n2|voter|leader|3|90|88|87|0');
    const objects = await operator.objects('cluster', 'status');
    expect(objects).toMatchObject([
      { shards: [{ shard: 1, founders: ['n2', 'n3'], hosts: ['n2', 'n3'] }] },
    ]);
  });

  it('a node that is removed leaves them before it leaves the cluster', async () => {
    plays();
    hasShard(['n2', 'n3']);
    const lines = (await told('remove', 'n3', '--yes')).trimEnd().split('\n');
    expect(lines).toEqual([
      'shard 1, n3: is to have no replica any more',
      'shard 1, n3: is no member',
      'shard 0, n3: removed',
      'shard 0, n3: is no member',
    ]);
    expect(cluster.asked).toEqual(['1 unhost n3', '0 {"kind":"remove","id":"n3"}']);
  });

  it('given again it waits for what it had begun, before it takes the node out of shard 0', async () => {
    plays();
    hasShard(['n2', 'n3']);
    let looks = 0;
    const { shards } = cluster.node;
    cluster.node = { ...cluster.node, shards: shards.map((each) => ({ ...each, hosts: ['n2'] })) };
    cluster.looked = () => {
      looks += 1;
      if (looks < 5) return;
      const { elsewhere } = cluster.node;
      const left = elsewhere.map((each) => ({ ...each, members: each.members.slice(0, 1) }));
      cluster.node = { ...cluster.node, elsewhere: left };
    };
    expect((await told('remove', 'n3', '--yes')).trimEnd().split('\n')).toEqual([
      'shard 1, n3: is removed while a majority of the others answers',
      'shard 1, n3: is no member',
      'shard 0, n3: removed',
      'shard 0, n3: is no member',
    ]);
    expect(cluster.asked).toEqual(['0 {"kind":"remove","id":"n3"}']);
  });

  it('of one that nobody tells of it waits too', async () => {
    plays();
    hasShard(['n2']);
    cluster.node = { ...cluster.node, elsewhere: [] };
    const { code, stdout } = await run('remove', 'n3', '--yes', '--within', '300ms');
    expect(code).toBe(ExitCode.timeout);
    expect(stdout).toBe('shard 1, n3: waits for a leader that is reached\n');
    expect(cluster.asked).toEqual([]);
  });

  it('a node with replicas of others is not taken out of shard 0 alone', async () => {
    plays();
    hasShard(['n2', 'n3']);
    const { code, stderr } = await run('remove', 'n3', '--shard', '0', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n3 has a replica of shard 1, and without shard 0');
    expect(stderr).toContain('fluxmq cluster remove n3, without --shard (has-shards)');
    expect(cluster.asked).toEqual([]);
    // Nor where its replica is left from a removal that was broken off.
    const { shards } = cluster.node;
    cluster.node = { ...cluster.node, shards: shards.map((each) => ({ ...each, hosts: ['n2'] })) };
    expect((await run('remove', 'n3', '--shard', '0', '--yes')).code).toBe(ExitCode.refused);
    expect(cluster.asked).toEqual([]);
    // Where it has none it is the same as the whole.
    hasShard(['n2']);
    await told('remove', 'n3', '--shard', '0', '--yes');
    expect(cluster.asked).toEqual(['0 {"kind":"remove","id":"n3"}']);
  });

  it('one that is given a replica meanwhile leaves that, and then shard 0', async () => {
    plays();
    hasShard(['n2']);
    cluster.answers.push({ kind: 'refused', code: 'has-shards', leader: 'n1' });
    cluster.looked = () => {
      if (cluster.asked.length === 1 && cluster.answers.length === 0) hasShard(['n2', 'n3']);
    };
    const lines = (await told('remove', 'n3', '--yes')).trimEnd().split('\n');
    expect(lines).toEqual([
      'shard 0, n3: waits: it has replicas of other shards, which it leaves before shard 0',
      'shard 1, n3: is to have no replica any more',
      'shard 1, n3: is no member',
      'shard 0, n3: removed',
      'shard 0, n3: is no member',
    ]);
  });

  it('a replica that came back leaves the others too, one that it has replaced does not', async () => {
    plays();
    hasShard(['n2', 'n3']);
    const lost = member('n3', { progress: follows(12, false) });
    setMembers([...membersNow().slice(0, 2), lost, member('n3+17')]);
    await told('remove', 'n3+17', '--yes');
    expect(cluster.asked).toEqual(['1 unhost n3', '0 {"kind":"remove","id":"n3+17"}']);
    cluster.asked.length = 0;
    hasShard(['n2', 'n3']);
    setMembers([...membersNow().slice(0, 2), lost, member('n3+17')]);
    await told('remove', 'n3', '--yes');
    expect(cluster.asked).toEqual(['0 {"kind":"remove","id":"n3"}']);
  });

  it('a leader that is not in shard 0 any more hands over, for it hears nothing of the map', async () => {
    plays();
    hasShard(['n3', 'n2']);
    setMembers(membersNow().filter(({ id }) => id !== 'n3'));
    const unhosted = cluster.mapped;
    cluster.mapped = () => {
      const { shards } = cluster.node;
      cluster.node = {
        ...cluster.node,
        shards: shards.map((each) => ({ ...each, hosts: ['n2'] })),
      };
    };
    cluster.transferred = () => unhosted(1, 'n3', false);
    const lines = (await told('remove', 'n3', '--yes')).trimEnd().split('\n');
    expect(lines.slice(0, 3)).toEqual([
      'shard 1, n3: is to have no replica any more',
      'shard 1, n2: n3, which is not in shard 0 any more, hands over to it',
      'shard 1, n3: is no member',
    ]);
    expect(cluster.asked).toEqual(['1 unhost n3', '1 transfer n2']);
  });

  it('a shard that is not there is said', async () => {
    hasShard(['n2', 'n3']);
    const { code, stderr } = await run('remove', 'n3', '--shard', '7', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n1 knows no shard 7 (no-shard)');
  });

  it('the last host stays', async () => {
    hasShard(['n3']);
    const { code, stderr } = await run('remove', 'n3', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('shard 1 lies on n3 alone: give it another host first');
    expect(cluster.asked).toEqual([]);
  });

  it('one that replaces another has its replicas, and then that one has none, shard 0 last', async () => {
    promotesItself();
    hasShard(['n2', 'n3']);
    const text = await told('replace', 'n3', 'n4+17', 'n4.example:7000', '--yes');
    expect(text.trimEnd().split('\n').slice(-6)).toEqual([
      'shard 1, n4: is to have a replica',
      'shard 1, n4: is a voter',
      'shard 1, n3: is to have no replica any more',
      'shard 1, n3: is no member',
      'shard 0, n3: removed',
      'shard 0, n3: is no member',
    ]);
  });

  it('a replica from before its disk was lost is not taken for the new one', async () => {
    promotesItself();
    hasShard(['n2', 'n3']);
    for (const id of ['n3+17', 'n3+xk2q7bd5m3vza6ri']) {
      const wish = ['replace', 'n3', id, 'n3.example:7000', '--yes', '--within', '1s'];
      const { code, stdout } = await run(...wish);
      expect(code).toBe(ExitCode.timeout);
      expect(stdout).toContain('shard 1, n3: waits until its replica asks to be a member');
    }
  });

  it('one that is added becomes a host where one is missing, or where it is said', async () => {
    promotesItself();
    hasShard(['n2', 'n3']);
    await told('add', 'n4', 'n4.example:7000');
    expect(cluster.asked).toHaveLength(1);
    expect(await told('add', 'n4', 'n4.example:7000', '--shard', '1')).toBe(
      'shard 1, n4: is to have a replica\nshard 1, n4: is a voter\n',
    );
  });

  it('one that is not in shard 0 would never hear that it is to have a replica', async () => {
    hasShard(['n2', 'n3']);
    const { code, stderr } = await run('add', 'n4', 'n4.example:7000', '--shard', '1');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n4 is no member of shard 0, where every node has to be');
    expect(stderr).toContain('first fluxmq cluster add n4 n4.example:7000 (not-member)');
    expect(cluster.asked).toEqual([]);
  });

  it('a learner is one of shard 0', async () => {
    hasShard(['n2', 'n3']);
    const { code, stderr } = await run('add', 'n4', 'n4.example:7000', '--shard', '1', '--learner');
    expect(code).toBe(ExitCode.usage);
    expect(stderr).toContain('--learner is of shard 0');
    expect(cluster.asked).toEqual([]);
  });

  it('another one is made, and given again it is there', async () => {
    cluster.mapped = (shard) => {
      const place = { shard, founders: ['n1'], hosts: ['n1'] };
      const made = led({ shard, members: [member('n1', { progress: undefined })] });
      cluster.node = { ...cluster.node, shards: [place], elsewhere: [made] };
    };
    expect(await told('add-shard', '1')).toBe('shard 1, n1: is made\nshard 1, n1: leads\n');
    expect(await told('add-shard', '1')).toBe('shard 1, n1: leads\n');
    expect(cluster.asked).toEqual(['add shard 1']);
  });
});
