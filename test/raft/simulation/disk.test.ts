/**
 * The simulated disk keeps what it has to keep, loses what it may lose, and does both from its
 * seed.
 */
import { describe, expect, test } from 'vitest';

import type { Files, OpenFile, OpenOptions } from '../../../storage/files.ts';
import { SimulatedDisk } from '../../../raft/simulation/disk/disk.ts';
import { Random } from '../../../raft/simulation/random.ts';

const NEW: OpenOptions = { access: 'write', create: 'exclusive', durability: 'on-sync' };
const OLD: OpenOptions = { access: 'write', create: 'never', durability: 'on-sync' };
const EACH: OpenOptions = { access: 'write', create: 'never', durability: 'each-write' };
const SEEDS = Array.from({ length: 60 }, (_, seed) => seed);

/** A file `/a` with `sectors` durable sectors of `fill`. */
async function durableFile(disk: SimulatedDisk, sectors: number, fill: number): Promise<OpenFile> {
  const files = disk.mount();
  const file = await files.open('/a', NEW);
  await file.write(new Uint8Array(sectors * 512).fill(fill), 0);
  await file.sync();
  await files.syncDirectory('/');
  return file;
}

function sectorsOf(disk: SimulatedDisk, path = '/a'): string {
  const bytes = disk.bytesOf(path);
  let out = '';
  for (let at = 0; at < bytes.length; at += 512) {
    const sector = bytes.subarray(at, at + 512);
    out += sector.every((byte) => byte === sector[0]) ? String(sector[0]) : 'x';
  }
  return out;
}

describe('a power cut', () => {
  test('keeps or loses each unsynced sector by itself: old bytes, zeros at the end', async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      const file = await durableFile(disk, 2, 1);
      await file.write(new Uint8Array(4 * 512).fill(2), 0);
      disk.cutPower(0.5);
      seen.add(sectorsOf(disk));
    }
    for (const shape of seen) expect(shape).toMatch(/^[12][12]([02]([02])?)?$/);
    expect(seen).toContain('11');
    expect([...seen].some((shape) => shape.startsWith('12'))).toBe(true);
    expect([...seen].some((shape) => /^..02/.test(shape))).toBe(true);
  });

  test('never touches what was synced, nor what was written on an each-write handle', async () => {
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      const synced = await durableFile(disk, 3, 1);
      await synced.write(new Uint8Array(512).fill(2), 1024);
      const each = await disk.mount().open('/a', EACH);
      await each.write(new Uint8Array(1024).fill(3), 1536);
      disk.cutPower(0);
      expect(sectorsOf(disk)).toBe('11133');
    }
  });

  test('may show any earlier state of a sector written twice', async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      const file = await durableFile(disk, 1, 1);
      for (const fill of [2, 3, 4]) await file.write(new Uint8Array(512).fill(fill), 0);
      disk.cutPower(0.5);
      seen.add(sectorsOf(disk));
    }
    expect([...seen].toSorted()).toEqual(['1', '2', '3', '4']);
  });

  test('never shows bytes from before a cut behind bytes from after it', async () => {
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      const file = await durableFile(disk, 4, 1);
      await file.truncate(512);
      await file.write(new Uint8Array(512).fill(2), 3 * 512);
      disk.cutPower(0.5);
      expect(sectorsOf(disk)).toMatch(/^1(111|00[02])?$/);
    }
  });

  test('within an each-write write may tear it, and the write never returns', async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      await durableFile(disk, 4, 1);
      const each = await disk.mount().open('/a', EACH);
      disk.cutPowerAfter(1);
      const outcome = await disk.run(each.write(new Uint8Array(4 * 512).fill(2), 0));
      expect(outcome.cut).toBe(true);
      seen.add(sectorsOf(disk));
    }
    expect(seen.size).toBeGreaterThan(4);
  });

  test('keeps or loses names by themselves, and all of a folder that was synced', async () => {
    const seen = new Set<string>();
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      const files = disk.mount();
      for (const name of ['/old', '/kept']) await (await files.open(name, NEW)).close();
      await files.syncDirectory('/');
      await (await files.open('/new', NEW)).close();
      await files.remove('/old');
      await files.rename('/kept', '/renamed');
      disk.cutPower(0.5);
      seen.add((await disk.mount().list('/')).join(' '));
    }
    const combinations = ['kept', 'renamed'].flatMap((third) =>
      ['', 'new', 'old', 'new old'].map((others) =>
        `${others} ${third}`.trim().split(' ').toSorted().join(' '),
      ),
    );
    expect([...seen].toSorted()).toEqual(combinations.toSorted());
  });

  test('loses what lies in a folder whose own creation was lost', async () => {
    const disk = new SimulatedDisk({ seed: 1 });
    const files = disk.mount();
    await files.makeDirectory('/x/y');
    const file = await files.open('/x/y/a', NEW);
    await file.write(new Uint8Array(10), 0);
    await file.sync();
    await files.syncDirectory('/x/y');
    await files.syncDirectory('/x');
    disk.cutPower(0);
    await expect(disk.mount().list('/x')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('leaves the calls of the process that died without an answer', async () => {
    const disk = new SimulatedDisk({ seed: 1 });
    const before = disk.mount();
    const file = await durableFile(disk, 1, 1);
    disk.cutPower();
    let answered = 0;
    for (const call of [file.read(new Uint8Array(1), 0), before.list('/'), file.close()]) {
      void call.finally(() => (answered += 1));
    }
    await disk.mount().list('/');
    expect(answered).toBe(0);
  });
});

describe('faults', () => {
  test('after a failed sync the next one succeeds, and the data may be lost', async () => {
    let lost = 0;
    for (const seed of SEEDS) {
      const disk = new SimulatedDisk({ seed });
      const file = await durableFile(disk, 1, 1);
      await file.write(new Uint8Array(512).fill(2), 0);
      const fault = disk.inject({ kind: 'eio', on: 'sync' });
      await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
      expect(fault.hits).toBe(1);
      await file.sync();
      disk.cutPower(0.5);
      if (sectorsOf(disk) === '1') lost += 1;
    }
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(SEEDS.length);
  });

  test('a write that fails may have happened in part; a short one says how far', async () => {
    const disk = new SimulatedDisk({ seed: 3 });
    const file = await durableFile(disk, 4, 1);
    disk.inject({ kind: 'eio', on: 'write', path: /a$/, after: 1 });
    disk.inject({ kind: 'short', on: 'write', after: 1 });
    expect(await file.write(new Uint8Array(512).fill(2), 0)).toBe(512);
    await expect(file.write(new Uint8Array(512), 0)).rejects.toMatchObject({ code: 'EIO' });
    const count = await file.write(new Uint8Array(2048).fill(3), 0);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(2048);
    expect([...disk.bytesOf('/a')].filter((byte) => byte === 3)).toHaveLength(count);
  });

  test('lost, misdirected and flipped writes return as if nothing had been', async () => {
    for (const kind of ['lost', 'misdirected', 'flipped'] as const) {
      const disk = new SimulatedDisk({ seed: 5 });
      const file = await durableFile(disk, 4, 1);
      disk.inject({ kind, on: 'write' });
      expect(await file.write(new Uint8Array(512).fill(2), 0)).toBe(512);
      const twos = [...disk.bytesOf('/a')].filter((byte) => byte === 2).length;
      expect(twos).toBe({ lost: 0, misdirected: 512, flipped: 511 }[kind]);
      expect(disk.bytesOf('/a')[0] === 2).toBe(kind === 'flipped');
    }
  });

  test('a read fails, is short or is flipped as asked', async () => {
    const disk = new SimulatedDisk({ seed: 6 });
    const file = await durableFile(disk, 1, 0);
    disk.inject({ kind: 'eio', on: 'read' });
    await expect(file.read(new Uint8Array(512), 0)).rejects.toMatchObject({ code: 'EIO' });
    disk.inject({ kind: 'short', on: 'read' });
    expect(await file.read(new Uint8Array(512), 0)).toBeLessThan(512);
    disk.inject({ kind: 'flipped', on: 'read' });
    const into = new Uint8Array(512);
    await file.read(into, 0);
    expect(into.filter((byte) => byte !== 0)).toHaveLength(1);
    await file.read(into, 0);
    expect(into.every((byte) => byte === 0)).toBe(true);
  });

  test('a hung call returns when it is released, a slow one after others', async () => {
    const disk = new SimulatedDisk({ seed: 7 });
    const file = await durableFile(disk, 1, 1);
    const order: string[] = [];
    const hang = disk.inject({ kind: 'hung', on: 'sync' });
    disk.inject({ kind: 'slow', on: 'size', steps: 30 });
    const hung = file.sync().then(() => order.push('hung'));
    const slow = file.size().then(() => order.push('slow'));
    const read = file.read(new Uint8Array(1), 0).then(() => order.push('read'));
    await Promise.all([slow, read]);
    expect(order).toEqual(['read', 'slow']);
    hang.release();
    await hung;
  });

  test('a full disk writes what finds room, then ENOSPC; frees with the last handle', async () => {
    const disk = new SimulatedDisk({ seed: 8, capacityBytes: 4 * 4096 });
    const files = disk.mount();
    const file = await files.open('/a', NEW);
    expect(await file.write(new Uint8Array(5 * 4096), 0)).toBe(4 * 4096);
    await expect(file.write(new Uint8Array(1), 4 * 4096)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(await file.write(new Uint8Array(4096), 0)).toBe(4096);
    await files.remove('/a');
    expect((await files.space('/')).freeBytes).toBe(0);
    await file.close();
    expect((await files.space('/')).freeBytes).toBe(4 * 4096);
  });

  test('damage at rest changes what is read now and after a power cut', async () => {
    const disk = new SimulatedDisk({ seed: 9 });
    await durableFile(disk, 3, 1);
    disk.flipBit('/a', 5, 1);
    disk.zeroSector('/a', 2);
    disk.cutPower();
    expect(disk.bytesOf('/a')[5]).toBe(3);
    expect(sectorsOf(disk)).toBe('x10');
    disk.loseFile('/a');
    await expect(disk.mount().open('/a', OLD)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('the seed', () => {
  async function history(seed: number): Promise<string> {
    const disk = new SimulatedDisk({ seed, trace: true });
    const order: number[] = [];
    const file = await durableFile(disk, 8, 1);
    disk.cutPowerAfter(40);
    await disk.run(workload(disk.mount(), file, order));
    return `${order.join(',')} ${sectorsOf(disk)} ${disk.trace.join('\n')}`;
  }

  async function workload(files: Files, file: OpenFile, order: number[]): Promise<void> {
    for (let round = 0; ; round += 1) {
      const calls = Array.from({ length: 5 }, async (_, at) => {
        await file.write(new Uint8Array(512).fill(at), at * 512);
        order.push(at);
      });
      await Promise.all(calls);
      await (await files.open(`/b${round}`, NEW)).close();
    }
  }

  test('decides the order in which calls return and what a power cut leaves', async () => {
    expect(await history(11)).toBe(await history(11));
    expect(await history(11)).not.toBe(await history(12));
  });

  test('gives named streams that do not disturb each other', () => {
    const random = new Random(1);
    const first = random.stream('x').bytes(8);
    random.below(10);
    expect(random.stream('x').bytes(8)).toEqual(first);
    expect(random.stream('y').bytes(8)).not.toEqual(first);
    const drawn = Array.from({ length: 6000 }, () => random.below(6));
    for (let face = 0; face < 6; face += 1) {
      const count = drawn.filter((value) => value === face).length;
      expect(count).toBeGreaterThan(850);
      expect(count).toBeLessThan(1150);
    }
  });
});
