/**
 * The nemesis deals every kind, writes down what it did and what failed, and heals what it
 * installed; and the steps of a node do to a real process what they say.
 */

import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkFaults } from '../../jepsen/checkers/faults.ts';
import type { Cluster } from '../../jepsen/cluster/cluster.ts';
import { Guard } from '../../jepsen/cluster/guard.ts';
import { BrokerNode } from '../../jepsen/cluster/node.ts';
import { isStopped, startTimeOf } from '../../jepsen/cluster/process-state.ts';
import { readHistory } from '../../jepsen/history/read.ts';
import { isFault, type FaultName, type FaultOperation } from '../../jepsen/history/operation.ts';
import { Recorder } from '../../jepsen/history/recorder.ts';
import type { FaultKind, Table } from '../../jepsen/nemesis/fault-kind.ts';
import { Nemesis } from '../../jepsen/nemesis/nemesis.ts';
import { victims } from '../../jepsen/nemesis/victims.ts';
import { Random } from '../../jepsen/random.ts';

const ROOT = join(import.meta.dirname, '../..');
const GUARD = join(ROOT, 'dist/jepsen/cluster/guard-main.js');
const PACE = { quietMs: [0, 1], holdMs: [0, 1] } as const;

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'fluxmq-nemesis-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function tableOf(ids: readonly string[], leader?: string): Table {
  return {
    cluster: { ids } as unknown as Cluster,
    random: new Random(1),
    wiped: new Set(),
    leader: () => Promise.resolve(leader === undefined ? undefined : { node: leader, shard: 2 }),
    memberOf: (node) => Promise.resolve(node),
    isWhole: () => true,
    replace: () => undefined,
  };
}

describe('the nemesis', () => {
  /** A kind whose faults only count. */
  function counting(name: FaultName, more: { fails?: boolean; never?: boolean } = {}): FaultKind {
    return {
      name,
      about: '',
      choices: ['one', 'all'],
      unfit: () => undefined,
      plan: (choice) =>
        Promise.resolve(
          more.never === true
            ? 'not now'
            : {
                nodes: ['n1'],
                detail: `${choice}: x`,
                install: () =>
                  more.fails === true ? Promise.reject(new Error('no way')) : Promise.resolve(),
                heal: () => Promise.resolve(),
              },
        ),
    };
  }

  /** Until so many faults were written down. */
  async function dealt(
    kinds: readonly FaultKind[],
    faults: number | 'each',
  ): Promise<FaultOperation[]> {
    const recorder = new Recorder(directory);
    const stop = new AbortController();
    const cards = kinds.flatMap((kind) => kind.choices.map((choice) => ({ kind, choice })));
    const table = tableOf(['n1']);
    const queues = ['q', 'r'];
    const nemesis = new Nemesis({ table, recorder, cards, pace: PACE, stop: stop.signal, queues });
    const run = nemesis.run();
    let writes = 0;
    let hadEach = false;
    void nemesis.hadEach.then(() => (hadEach = true));
    while (faults === 'each' ? !hadEach : nemesis.faults < faults) {
      // Writes go on: the nemesis waits for them.
      const queue = queues[writes % queues.length] ?? '';
      writes += 1;
      const about = { f: 'enqueue', process: 0, node: 'n1', queue, value: 'a/0' } as const;
      recorder.add({ ...about, type: 'ok' });
      await new Promise((resolve) => {
        setTimeout(resolve, 1);
      });
    }
    stop.abort();
    await run;
    await nemesis.heal();
    await recorder.close();
    return (await readHistory(directory)).filter(isFault);
  }

  it('deals each kind before it deals any twice, also where most of its cards cannot be played', async () => {
    const rare: FaultKind = {
      ...counting('kill'),
      choices: ['a', 'b', 'c', 'd', 'one'],
      plan: (choice, table) =>
        choice === 'one' ? counting('kill').plan(choice, table) : Promise.resolve('not now'),
    };
    const common = { ...counting('pause'), choices: ['1', '2', '3', '4', '5', '6'] };
    const operations = await dealt([common, rare], 2);
    const kinds = operations.filter(({ step }) => step === 'install').map(({ f }) => f);
    expect(new Set(kinds.slice(0, 2))).toEqual(new Set(['kill', 'pause']));
  });

  it('deals each kind before it deals any twice, and heals everything', async () => {
    const kinds = [counting('kill'), counting('pause'), counting('partition')];
    const operations = await dealt(kinds, 6);
    const installs = operations.filter(({ step }) => step === 'install');
    expect(
      installs
        .slice(0, 3)
        .map(({ f }) => f)
        .toSorted(),
    ).toEqual(['kill', 'partition', 'pause']);
    const dealtOnce = installs.slice(0, 6).map(({ f, detail }) => `${f} ${detail}`);
    expect(new Set(dealtOnce).size).toBe(6);
    const verdict = checkFaults(operations, { nemeses: ['kill', 'pause', 'partition'] });
    expect(verdict).toMatchObject({ valid: true, anomalies: [] });
  });

  it('tells when each kind was dealt', async () => {
    const kinds = [counting('kill'), counting('pause'), counting('partition')];
    const operations = await dealt(kinds, 'each');
    const installs = operations.filter(({ step }) => step === 'install').map(({ f }) => f);
    expect(new Set(installs)).toEqual(new Set(['kill', 'pause', 'partition']));
    expect(await dealt([], 'each')).toEqual([]);
  });

  it('writes down a fault that fails, and goes on', async () => {
    const operations = await dealt([counting('kill'), counting('pause', { fails: true })], 3);
    const { anomalies } = checkFaults(operations, { nemeses: ['kill', 'pause'] });
    expect(anomalies.map(({ text }) => text)).toContain('pause was asked for and never installed');
    expect(anomalies.map(({ text }) => text).join()).toMatch(/pause n1\) failed: no way/);
    expect(operations.filter(({ step }) => step === 'installed').length).toBeGreaterThan(0);
  });

  it('passes over what cannot be played, and the checker says so', async () => {
    const operations = await dealt([counting('wipe', { never: true }), counting('kill')], 3);
    const { anomalies } = checkFaults(operations, { nemeses: ['kill', 'wipe'] });
    expect(anomalies.map(({ text }) => text)).toEqual(['wipe was asked for and never installed']);
  });
});

describe('victims', () => {
  it('are as many as the choice says', async () => {
    const table = tableOf(['a', 'b', 'c', 'd', 'e'], 'd');
    const count = async (choice: string): Promise<number | string> => {
      const found = await victims(choice, table, () => true);
      return typeof found === 'string' ? found : new Set(found.nodes).size;
    };
    for (let turn = 0; turn < 20; turn += 1) {
      expect(await count('one')).toBe(1);
      expect(await count('minority')).toBe(2);
      expect([3, 4]).toContain(await count('majority'));
      expect(await count('all')).toBe(5);
      const leader = await victims('leader', table, () => true);
      if (typeof leader === 'string') throw new Error(leader);
      expect(leader.nodes).toEqual(['d']);
      expect(leader.detail('SIGKILL')).toBe('leader: of shard 2, SIGKILL');
    }
    expect(await victims('all', table, (id) => id !== 'a')).toMatch(/too many/);
    expect(await victims('leader', table, (id) => id !== 'd')).toMatch(/hit already/);
  });
});

describe('a node', () => {
  let node: BrokerNode;
  let guard: Guard;
  let deaths: string[] = [];

  beforeEach(async () => {
    deaths = [];
    guard = await Guard.start(directory, GUARD);
    await mkdir(join(directory, 'data'));
    await writeFile(join(directory, 'data', 'file'), 'x');
    const address = { host: '127.0.0.1', port: 1 };
    node = new BrokerNode({
      id: 'n1',
      directory,
      addresses: { mqtt: address, ops: address, peer: address },
      // Says its number, as the broker's log does.
      command: ['sh', '-c', 'echo $$ >> "$0"; exec sleep 1000', join(directory, 'pids')],
      guard,
      onDeath: (id, how) => deaths.push(`${id} ${how}`),
    });
  });
  afterEach(async () => {
    await node.kill();
    await guard.close();
  });

  async function pidOf(start: number): Promise<number> {
    for (;;) {
      const text = await readFile(join(directory, 'pids'), 'utf8').catch(() => '');
      const pid = text.split('\n')[start - 1];
      if (pid !== undefined && pid !== '') return Number(pid);
    }
  }

  it('stands still while it is paused, goes on, dies, and comes again as another process', async () => {
    await node.start();
    const pid = await pidOf(1);
    await node.pause();
    expect([node.state, await isStopped(pid)]).toEqual(['paused', true]);
    await node.resume();
    expect([node.state, await isStopped(pid)]).toEqual(['up', false]);
    await node.pause();
    await node.kill();
    expect([node.state, await startTimeOf(pid)]).toEqual(['down', undefined]);
    await node.start();
    expect(await pidOf(2)).not.toBe(pid);
    expect(await node.stop()).toBe(true);
    expect(deaths).toEqual([]);
  });

  it('loses its data only while it is down', async () => {
    await node.start();
    await expect(node.wipe()).rejects.toThrow('n1 is up');
    await node.kill();
    await node.wipe();
    await expect(stat(join(directory, 'data'))).rejects.toThrow(/ENOENT/);
    // What is not there cannot be lost: the fault would not be one.
    await expect(node.wipe()).rejects.toThrow(/ENOENT/);
  });

  it('is told when it ended by itself', async () => {
    await node.start();
    process.kill(await pidOf(1), 'SIGKILL');
    while (deaths.length === 0) {
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
    expect([deaths, node.state]).toEqual([['n1 SIGKILL'], 'down']);
  });
});
