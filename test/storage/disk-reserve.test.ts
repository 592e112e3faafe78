import { setImmediate } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';

import {
  DiskReserve,
  type DiskReserveOptions,
  type ReserveState,
} from '../../storage/disk-reserve.ts';
import { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const DISK = 16 * MIB;
const RESERVE = 2 * MIB;
const FILE = 256 * KIB;

interface Subject {
  disk: SimulatedDisk;
  reserve: DiskReserve;
  changes: ReserveState[];
}

async function open(
  options: Partial<DiskReserveOptions> = {},
  disk = new SimulatedDisk({ seed: 'reserve', capacityBytes: DISK }),
): Promise<Subject> {
  const changes: ReserveState[] = [];
  const reserve = await DiskReserve.open({
    files: disk.mount(),
    directory: '/',
    leastBytes: 128 * KIB,
    reserveBytes: RESERVE,
    fileBytes: FILE,
    refreshMs: 0,
    onChange: (state) => changes.push(state),
    ...options,
  });
  return { disk, reserve, changes };
}

/** Others fill the disk until just so many bytes are free. */
function leaveFree(disk: SimulatedDisk, bytes: number): void {
  disk.foreignBytes += disk.freeBytes() - bytes;
}

describe('the size of the reserve', () => {
  test.each([
    ['5% of a small disk', 20 * 1024 * MIB, 1024 * MIB],
    ['1 GiB of a large one', 2048 * 1024 * MIB, 1024 * MIB],
    ['5% between', 10 * 1024 * MIB, 512 * MIB],
    ['two segments of a tiny one', 1024 * MIB, 128 * MIB],
  ])('is by itself %s', async (_name, capacityBytes, wanted) => {
    const files = new SimulatedDisk({ seed: 1, capacityBytes }).mount();
    const onChange = (): void => undefined;
    const shared = { files, directory: '/', leastBytes: 128 * MIB, refreshMs: 0, onChange };
    const reserve = await DiskReserve.open(shared);
    expect(reserve.space.reserveBytes).toBe(wanted);
    await reserve.close();
  });

  test('is refused where it is out of range or the whole disk', async () => {
    const refused = { name: 'StorageError', code: 'out-of-range' };
    await expect(open({ reserveBytes: DISK })).rejects.toMatchObject(refused);
    await expect(open({ reserveBytes: 1 })).rejects.toMatchObject(refused);
    await expect(open({ fileBytes: 0.5 })).rejects.toMatchObject(refused);
    await expect(open({ refreshMs: -1 })).rejects.toMatchObject(refused);
  });
});

describe('D10: on a disk that fills up', () => {
  test('the state says so at the reserve, and recovers by itself a little above it', async () => {
    const { disk, reserve, changes } = await open();
    await reserve.refresh();
    expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', FILE]);
    leaveFree(disk, RESERVE - FILE);
    await reserve.refresh();
    expect(reserve.state).toBe('ok');
    leaveFree(disk, RESERVE - FILE - 4096);
    await reserve.refresh();
    expect(reserve.state).toBe('inside-reserve');
    leaveFree(disk, RESERVE - FILE + RESERVE / 16 - 4096);
    await reserve.refresh();
    expect(reserve.state).toBe('inside-reserve');
    leaveFree(disk, RESERVE - FILE + RESERVE / 16);
    await reserve.refresh();
    expect(reserve.state).toBe('ok');
    expect(changes).toEqual(['inside-reserve', 'ok']);
  });

  test('bytes that were spent count before the disk is looked at again', async () => {
    const { disk, reserve, changes } = await open();
    leaveFree(disk, RESERVE);
    await reserve.refresh();
    reserve.spent(FILE);
    expect(reserve.state).toBe('ok');
    reserve.spent(1);
    expect(reserve.state).toBe('inside-reserve');
    leaveFree(disk, 2 * RESERVE);
    await reserve.refresh();
    expect(changes).toEqual(['inside-reserve', 'ok']);
  });

  test('the file is given up when the disk is out: what frees space finds room', async () => {
    const { disk, reserve } = await open();
    expect(reserve.space.heldBytes).toBe(FILE);
    leaveFree(disk, 0);
    const file = await disk.mount().open('/log', {
      access: 'write',
      create: 'exclusive',
      durability: 'each-write',
    });
    await expect(file.write(new Uint8Array(4096), 0)).rejects.toMatchObject({ code: 'ENOSPC' });
    await reserve.refresh();
    expect(reserve.space).toMatchObject({ heldBytes: 0, freeBytes: FILE });
    expect(await file.write(new Uint8Array(FILE), 0)).toBe(FILE);
    expect(reserve.state).toBe('inside-reserve');
  });

  test('the file is filled again when space is back, and never out of the reserve', async () => {
    const { disk, reserve } = await open();
    leaveFree(disk, 0);
    await reserve.refresh();
    leaveFree(disk, RESERVE + FILE - 4096);
    await reserve.refresh();
    expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', 0]);
    leaveFree(disk, RESERVE + FILE);
    await reserve.refresh();
    expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', FILE]);
    expect(disk.freeBytes()).toBe(RESERVE);
  });

  test('ENOSPC is believed over statfs until the whole file could be written again', async () => {
    const { disk, reserve, changes } = await open();
    reserve.noteFull();
    expect(reserve.state).toBe('inside-reserve');
    await reserve.refresh();
    expect(reserve.space.heldBytes).toBe(0);
    disk.inject({ kind: 'enospc', on: 'write', path: /reserve$/, times: 3 });
    for (let look = 0; look < 3; look += 1) {
      await reserve.refresh();
      expect(reserve.state).toBe('inside-reserve');
    }
    await reserve.refresh();
    expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', FILE]);
    expect(changes).toEqual(['inside-reserve', 'ok']);
  });
});

describe('errors', () => {
  test('of statfs count as no space, of the file as no file; neither is thrown', async () => {
    const { disk, reserve } = await open();
    const space = disk.inject({ kind: 'eio', on: 'space' });
    await reserve.refresh();
    expect([reserve.state, space.hits]).toEqual(['inside-reserve', 1]);
    for (const on of ['truncate', 'sync'] as const) {
      await reserve.refresh();
      await reserve.refresh();
      expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', FILE]);
      const fault = disk.inject({ kind: 'eio', on, path: /reserve$/ });
      reserve.noteFull();
      await reserve.refresh();
      expect([reserve.space.heldBytes, fault.hits]).toEqual([0, 1]);
    }
    await reserve.refresh();
    expect(reserve.space.heldBytes).toBe(FILE);
  });

  test('a disk so full that the file has no name still opens, and gets it later', async () => {
    const disk = new SimulatedDisk({ seed: 2, capacityBytes: DISK });
    disk.inject({ kind: 'eio', on: 'open' });
    disk.inject({ kind: 'eio', on: 'open' });
    leaveFree(disk, 0);
    const { reserve } = await open({}, disk);
    expect([reserve.state, reserve.space.heldBytes]).toEqual(['inside-reserve', 0]);
    leaveFree(disk, 2 * RESERVE);
    await reserve.refresh();
    await reserve.refresh();
    expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', FILE]);
  });
});

describe('start and stop', () => {
  test('the space stays held while the broker is down, and a smaller file is cut', async () => {
    const { disk, reserve } = await open();
    await reserve.close();
    await reserve.close();
    expect(disk.bytesOf('/reserve')).toHaveLength(FILE);
    const again = await open({ fileBytes: FILE / 2 }, disk);
    expect(again.reserve.space.heldBytes).toBe(FILE / 2);
    expect(disk.bytesOf('/reserve')).toHaveLength(FILE / 2);
    await again.reserve.close();
    await again.reserve.refresh();
  });

  test('after a power cut at any instant it opens and fills again', async () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const disk = new SimulatedDisk({ seed, capacityBytes: DISK });
      disk.cutPowerAfter(seed % 20);
      const first = await disk.run(open({}, disk));
      if (!first.cut) disk.cutPower();
      const { reserve } = await open({}, disk);
      await reserve.refresh();
      expect([reserve.state, reserve.space.heldBytes]).toEqual(['ok', FILE]);
    }
  });

  test('looks at the disk by itself', async () => {
    const disk = new SimulatedDisk({ seed: 3, capacityBytes: DISK });
    const changed = new Promise<ReserveState>((resolve) => {
      void open({ refreshMs: 1, onChange: resolve }, disk).then(() => leaveFree(disk, 0));
    });
    expect(await changed).toBe('inside-reserve');
    disk.cutPower();
  });

  test('looks a fifth as often while nothing changes, and as before when something does', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const disk = new SimulatedDisk({ seed: 4, capacityBytes: DISK });
      const files = disk.mount();
      let looks = 0;
      const space = files.space.bind(files);
      files.space = (directory) => {
        looks++;
        return space(directory);
      };
      const { reserve } = await open({ files, refreshMs: 100 }, disk);
      const looksIn = async (ms: number): Promise<number> => {
        const before = looks;
        for (let at = 0; at < ms; at += 100) {
          vi.advanceTimersByTime(100);
          for (let turn = 0; turn < 10; turn++) await setImmediate();
        }
        return looks - before;
      };
      await looksIn(2000);
      expect(await looksIn(10_000)).toBe(20);
      reserve.spent(1);
      await looksIn(500);
      reserve.spent(1);
      expect(await looksIn(500)).toBeGreaterThan(1);
      leaveFree(disk, 0);
      await looksIn(500);
      expect([reserve.state, await looksIn(1000)]).toEqual(['inside-reserve', 10]);
      await reserve.close();
      expect(await looksIn(2000)).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});
