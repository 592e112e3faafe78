/** Damaged entries of a replica's log, got back from its peers (storage.md "Recovery"). */

import { describe, expect, it } from 'vitest';
import { LogDisk } from '#raft';
import type { DiskWrite, Entry } from '#raft';
import { MemoryFiles } from '../../support/memory-files.ts';
import { openRepairsLog } from '../../support/repairs-log.ts';
import { DIRECTORY, openSmall, payloadOf } from '../../support/small-log.ts';
import { until } from '../../support/shard-world.ts';
import { Hosts, bytes } from './hosts.ts';
import type { TestHost } from './hosts.ts';

const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_none, nth) => `m${first + nth}`);

function entry(index: number, term: number, payload = payloadOf(index)): Entry {
  const kind = 'commands';
  return { index, term, kind, payload, configuration: undefined, local: undefined };
}

/** Flips a bit in the first segment that holds these bytes; true: there was one. */
function damage(files: MemoryFiles, wanted: Uint8Array, folder: string): boolean {
  for (const path of files.paths()) {
    if (!path.startsWith(`${folder}/`) || !path.endsWith('.log')) continue;
    const image = Buffer.from(files.bytes(path));
    const at = image.indexOf(wanted);
    if (at < 0) continue;
    image[at] = (image[at] ?? 0) ^ 0x10;
    files.put(path, image);
    // What is derived says nothing of damage: the next start looks for itself.
    const index = path.replace(/log$/, 'index');
    if (files.paths().includes(index)) files.take(index);
    return true;
  }
  return false;
}

async function openDisk(files: MemoryFiles): Promise<{ disk: LogDisk; persisted: number[] }> {
  const { log } = await openSmall(files);
  const persisted: number[] = [];
  const place = { files, directory: '/data/repairs', onFailure: () => undefined };
  const disk = new LogDisk({
    log,
    note: () => ({ timestampMs: 1, recordCount: 1 }),
    openRepairs: (how) => openRepairsLog(place, how),
  });
  await disk.recover();
  disk.listen({
    persisted: (token) => void persisted.push(token),
    failed: (error) => {
      throw error;
    },
  });
  return { disk, persisted };
}

function piece(token: number, fields: Partial<DiskWrite>): DiskWrite {
  const none = { hardState: undefined, truncateAfter: undefined, entries: [], repaired: [] };
  return { ...none, ...fields, token };
}

/** Entries 1 to 60, of terms 1 and 2; 20 to 22 and 31, in which term 2 begins, are damaged. */
async function damagedDisk(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const { disk, persisted } = await openDisk(files);
  const entries = Array.from({ length: 60 }, (_none, nth) => entry(nth + 1, nth < 30 ? 1 : 2));
  disk.write(piece(1, { hardState: { term: 2, vote: 'a' }, entries }));
  await until(() => persisted.length > 0);
  await disk.close();
  for (const index of [20, 21, 22, 31]) damage(files, payloadOf(index), DIRECTORY);
  return files;
}

describe('a disk with repaired entries', () => {
  it('names what is damaged until it is repaired, and gives it back then, in every life', async () => {
    const files = await damagedDisk();
    const { disk, persisted } = await openDisk(files);
    const named = disk.faulty.map(({ from, through }) => [from, through]);
    expect(named.flat()).toEqual([20, 20, 21, 21, 22, 22, 31, 31]);
    expect((await disk.read(20, 1)).kind).toBe('faulty');
    disk.write(piece(1, { repaired: [entry(20, 1), entry(21, 1)] }));
    disk.write(piece(2, { repaired: [entry(31, 2)], entries: [entry(61, 2)] }));
    await until(() => persisted.includes(2));
    expect(disk.faulty.map(({ from, through }) => [from, through])).toEqual([[22, 22]]);
    const again = await openDisk(files.crash());
    expect(again.disk.faulty.map(({ from, through }) => [from, through])).toEqual([[22, 22]]);
    expect(again.disk.last).toBe(61);
    const outcome = await again.disk.read(20, 1 << 20);
    expect(outcome).toMatchObject({ kind: 'entries' });
    expect(outcome.kind === 'entries' && outcome.entries).toEqual([entry(20, 1), entry(21, 1)]);
    expect(again.disk.terms).toEqual([
      { term: 1, firstIndex: 1 },
      { term: 2, firstIndex: 31 },
    ]);
  });

  it('is not persisted before the repaired bytes are on stable storage', async () => {
    const files = await damagedDisk();
    const { disk, persisted } = await openDisk(files);
    disk.write(piece(1, { repaired: [entry(20, 1)] }));
    const open: (() => void)[] = [];
    files.before = ({ operation, path }) =>
      operation === 'sync' && path.startsWith('/data/repairs')
        ? new Promise((resolve) => open.push(resolve))
        : undefined;
    await until(() => open.length > 0);
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(persisted).toEqual([]);
    files.before = () => undefined;
    for (const release of open) release();
    await until(() => persisted.includes(1));
  });

  it('a cut drops what was repaired behind it, and never takes it for what comes there', async () => {
    const files = await damagedDisk();
    const { disk, persisted } = await openDisk(files);
    const repaired = [20, 21, 22].map((index) => entry(index, 1));
    disk.write(piece(1, { repaired: [...repaired, entry(31, 2)] }));
    const other = Array.from({ length: 12 }, (_none, nth) =>
      entry(26 + nth, 3, bytes(`new ${nth}`)),
    );
    disk.write(piece(2, { truncateAfter: 25, entries: other }));
    await until(() => persisted.includes(2));
    for (const life of [disk, (await openDisk(files.durableClone())).disk]) {
      expect(life.faulty).toEqual([]);
      const outcome = await life.read(31, 1);
      expect(outcome.kind === 'entries' && outcome.entries[0]).toEqual(
        entry(31, 3, bytes('new 5')),
      );
      expect(life.terms.map(({ term }) => term)).toEqual([1, 3]);
    }
  });
});

describe('a replica with a damaged log', () => {
  async function damagedFollower(): Promise<{ hosts: Hosts; follower: TestHost; index: number }> {
    const hosts = new Hosts({ limits: { tailBytes: 1 } });
    await hosts.start();
    const leader = await hosts.elect();
    const [follower] = hosts.followers as [TestHost];
    let index = 0;
    for (const what of numbered(200)) index = leader.propose(what);
    await hosts.applied(hosts.hosts, index);
    follower.crash();
    for (const nth of [40, 41, 90]) {
      expect(damage(follower.files, bytes(`m${nth}`), follower.directory)).toBe(true);
    }
    return { hosts, follower, index };
  }

  it('gets the entries from a peer, applies them, and has them after the next crash', async () => {
    const { hosts, follower } = await damagedFollower();
    for (let life = 0; life < 2; life++) {
      await follower.start();
      expect(follower.node?.status().faulty).toHaveLength(life === 0 ? 2 : 0);
      const leader = await hosts.elect();
      await hosts.applied(hosts.hosts, leader.propose(`m${200 + life}`));
      expect(follower.applied).toEqual(numbered(201 + life));
      await hosts.until(() => follower.node?.status().faulty.length === 0);
      follower.crash();
    }
  });

  it('damage that only a read finds is repaired too, and a damaged leader hands over', async () => {
    const hosts = new Hosts({ limits: { tailBytes: 1 } });
    await hosts.start();
    const leader = await hosts.elect();
    const [behind] = hosts.followers as [TestHost];
    behind.crash();
    const others = hosts.hosts.filter((host) => host !== behind);
    let index = 0;
    for (const what of numbered(200)) index = leader.propose(what);
    await hosts.applied(others, index);
    expect(damage(leader.files, bytes('m120'), leader.directory)).toBe(true);
    await behind.start();
    await hosts.until(() => behind.applied.length === 200);
    expect(behind.applied).toEqual(numbered(200));
    expect(leader.log?.faulty).toHaveLength(1);
    await hosts.until(() => leader.node?.status().faulty.length === 0);
    expect(leader.leads).toBe(false);
    expect(leader.damages).toHaveLength(1);
    for (const host of hosts.hosts) expect(host.ends).toEqual([]);
  });
});
