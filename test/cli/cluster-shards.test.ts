/**
 * `fluxmq cluster` as a process, where there are shards beside shard 0: in which order a node comes
 * to them and leaves them, also when the command was broken off and is given again.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import type { FakeClusterAdmin } from '../support/fake-cluster-admin.ts';
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

describe('shards beside the first one', () => {
  it('status tells of each, also where this node has no replica', async () => {
    node.hasShard(['n2', 'n3']);
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
    node.plays();
    node.hasShard(['n2', 'n3']);
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
    node.plays();
    node.hasShard(['n2', 'n3']);
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
    node.plays();
    node.hasShard(['n2']);
    cluster.node = { ...cluster.node, elsewhere: [] };
    const { code, stdout } = await run('remove', 'n3', '--yes', '--within', '300ms');
    expect(code).toBe(ExitCode.timeout);
    expect(stdout).toBe('shard 1, n3: waits for a leader that is reached\n');
    expect(cluster.asked).toEqual([]);
  });

  it('a node with replicas of others is not taken out of shard 0 alone', async () => {
    node.plays();
    node.hasShard(['n2', 'n3']);
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
    node.hasShard(['n2']);
    await told('remove', 'n3', '--shard', '0', '--yes');
    expect(cluster.asked).toEqual(['0 {"kind":"remove","id":"n3"}']);
  });

  it('one that is given a replica meanwhile leaves that, and then shard 0', async () => {
    node.plays();
    node.hasShard(['n2']);
    cluster.answers.push({ kind: 'refused', code: 'has-shards', leader: 'n1' });
    cluster.looked = () => {
      if (cluster.asked.length === 1 && cluster.answers.length === 0) node.hasShard(['n2', 'n3']);
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

  it('the same of one that is replaced', async () => {
    node.promotesItself();
    node.hasShard(['n2']);
    const { looked } = cluster;
    cluster.answers.push(
      { kind: 'accepted' },
      { kind: 'refused', code: 'has-shards', leader: 'n1' },
    );
    cluster.looked = () => {
      looked();
      if (cluster.asked.length === 2 && cluster.answers.length === 0) node.hasShard(['n2', 'n3']);
    };
    await told('replace', 'n3', 'n4', 'n4.example:7000', '--yes');
    const removal = '0 {"kind":"remove","id":"n3"}';
    expect(cluster.asked.slice(1)).toEqual([removal, '1 host n4', '1 unhost n3', removal]);
  });

  it('a replica that came back leaves the others too, one that it has replaced does not', async () => {
    node.plays();
    node.hasShard(['n2', 'n3']);
    const lost = member('n3', { progress: follows(12, false) });
    node.setMembers([...node.members.slice(0, 2), lost, member('n3+17')]);
    await told('remove', 'n3+17', '--yes');
    expect(cluster.asked).toEqual(['1 unhost n3', '0 {"kind":"remove","id":"n3+17"}']);
    cluster.asked.length = 0;
    node.hasShard(['n2', 'n3']);
    node.setMembers([...node.members.slice(0, 2), lost, member('n3+17')]);
    const { code, stderr } = await run('remove', 'n3', '--shard', '1', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n3 was replaced by n3+17, which has that replica: name that');
    await told('remove', 'n3', '--yes');
    expect(cluster.asked).toEqual(['0 {"kind":"remove","id":"n3"}']);
  });

  it('a leader that is not in shard 0 any more hands over, for it hears nothing of the map', async () => {
    node.plays();
    node.hasShard(['n3', 'n2']);
    node.setMembers(node.members.filter(({ id }) => id !== 'n3'));
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
    node.hasShard(['n2', 'n3']);
    const { code, stderr } = await run('remove', 'n3', '--shard', '7', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n1 knows no shard 7 (no-shard)');
  });

  it('the last host stays', async () => {
    node.hasShard(['n3']);
    const { code, stderr } = await run('remove', 'n3', '--yes');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('shard 1 lies on n3 alone: give it another host first');
    expect(cluster.asked).toEqual([]);
  });

  it('one that replaces another has its replicas, and then that one has none, shard 0 last', async () => {
    node.promotesItself();
    node.hasShard(['n2', 'n3']);
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
    node.promotesItself();
    node.hasShard(['n2', 'n3']);
    for (const id of ['n3+17', 'n3+xk2q7bd5m3vza6ri']) {
      const wish = ['replace', 'n3', id, 'n3.example:7000', '--yes', '--within', '1s'];
      const { code, stdout } = await run(...wish);
      expect(code).toBe(ExitCode.timeout);
      expect(stdout).toContain('shard 1, n3: waits until its replica asks to be a member');
    }
  });

  it('one that is added becomes a host where one is missing, or where it is said', async () => {
    node.promotesItself();
    node.hasShard(['n2', 'n3']);
    await told('add', 'n4', 'n4.example:7000');
    expect(cluster.asked).toHaveLength(1);
    expect(await told('add', 'n4', 'n4.example:7000', '--shard', '1')).toBe(
      'shard 1, n4: is to have a replica\nshard 1, n4: is a voter\n',
    );
  });

  it('one that is not in shard 0 would never hear that it is to have a replica', async () => {
    node.hasShard(['n2', 'n3']);
    const { code, stderr } = await run('add', 'n4', 'n4.example:7000', '--shard', '1');
    expect(code).toBe(ExitCode.refused);
    expect(stderr).toContain('n4 is no member of shard 0, where every node has to be');
    expect(stderr).toContain('first fluxmq cluster add n4 n4.example:7000 (not-member)');
    expect(cluster.asked).toEqual([]);
  });

  it('a learner is one of shard 0', async () => {
    node.hasShard(['n2', 'n3']);
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
