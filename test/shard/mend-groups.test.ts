/** Records of a real machine, damaged: what is put in their place, and what is refused. */
import { describe, expect, it } from 'vitest';
import type { GroupId, QueueId } from '../../src/machine/ids.ts';
import type { RecordData, RecordKey } from '../../src/machine/record-data.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { mendGroups, nameDamaged } from '../../src/shard/mend-groups.ts';
import { type PlainData, decodeRecord, encodeRecord } from '../../src/shard/record-codec.ts';
import { MemoryRecords } from '../../storage/records/memory-records.ts';
import { MachineDriver, Sender } from '../machine/machine-driver.ts';

const DEFAULT = 0 as GroupId;

/** Two queues; of the first, group default has gaps in two chunks and attempts, audit has not. */
function machine(): { driver: MachineDriver; orders: QueueId; audit: GroupId } {
  const driver = new MachineDriver();
  const orders = driver.declare('orders');
  driver.declare('sound');
  const audit = driver.group(orders, 'audit');
  new Sender(driver).fill(orders, 2 * SETTLED_CHUNK);
  driver.settleRange(orders, [0, 100]);
  driver.settle(orders, 200);
  driver.settle(orders, SETTLED_CHUNK + 7);
  driver.settle(orders, 300, 'requeue');
  driver.settleRange(orders, [0, 5], { groupId: audit });
  return { driver, orders, audit };
}

async function stored(driver: MachineDriver): Promise<MemoryRecords> {
  const records = new MemoryRecords();
  const store = await records.open();
  const batch = store.begin();
  for (const [key, data] of driver.dump()) batch.put(key, encodeRecord(data as PlainData));
  await batch.write({ index: driver.index, term: 1, data: new Uint8Array(0) });
  await store.close();
  return records;
}

function flip(bytes: Uint8Array): Uint8Array {
  const at = bytes.length - 1;
  bytes[at] = (bytes[at] as number) ^ 0x01;
  return bytes;
}

/** A machine on what the start made of the damage. */
async function mended(records: MemoryRecords): Promise<MachineDriver> {
  const store = await records.open(mendGroups);
  const contents = new Map<RecordKey, RecordData>();
  for await (const page of store.iterate('')) {
    for (const { key, value } of page) {
      contents.set(key as RecordKey, decodeRecord(value) as RecordData);
    }
  }
  await store.close();
  return new MachineDriver(1_000, contents);
}

describe('a damaged record of a group', () => {
  it('its head: all of it is unknown from the start of the queue, and no record is left', async () => {
    const { driver, orders, audit } = machine();
    const records = await stored(driver);
    records.damage(`group/${orders}/${DEFAULT}`, flip);
    const after = await mended(records);
    expect(after.machine.lostGroups()).toMatchObject([
      { name: 'default', from: 0, through: 2 * SETTLED_CHUNK },
    ]);
    const start = after.dispatchStart(orders);
    expect([start.floor, start.settled.size, start.requeued]).toEqual([0, 0, []]);
    expect([...after.store.keys()].filter((key) => /^(settled|attempts)\//.test(key))).toEqual([]);
    const other = after.dispatchStart(orders, audit);
    expect([other.floor, other.lost]).toEqual([5, undefined]);
  });

  it('a bitmap, or attempts: its floor is known and stays', async () => {
    for (const kind of ['settled', 'attempts']) {
      const { driver, orders } = machine();
      const records = await stored(driver);
      records.damage(`${kind}/${orders}/${DEFAULT}/0`, flip);
      const after = await mended(records);
      expect(after.machine.lostGroups()).toMatchObject([{ name: 'default', from: 100 }]);
      expect(after.dispatchStart(orders).settled.size).toBe(0);
    }
  });

  it('several, of one group and of others', async () => {
    const { driver, orders, audit } = machine();
    const records = await stored(driver);
    records.damage(`group/${orders}/${DEFAULT}`, flip);
    records.damage(`settled/${orders}/${DEFAULT}/1`, flip);
    records.damage(`group/${orders}/${audit}`, flip);
    const after = await mended(records);
    expect(after.machine.lostGroups().map(({ name }) => name)).toEqual(['default', 'audit']);
  });

  it('of a group without anything unknown: it stands at the end, and is not held', async () => {
    const { driver, orders } = machine();
    driver.settleRange(orders, [0, SETTLED_CHUNK]);
    driver.settleRange(orders, [SETTLED_CHUNK, 2 * SETTLED_CHUNK]);
    driver.run({ kind: 'retain', queueId: orders, start: SETTLED_CHUNK as never });
    driver.run({ kind: 'retain', queueId: orders, start: (2 * SETTLED_CHUNK) as never });
    const records = await stored(driver);
    records.damage(`group/${orders}/${DEFAULT}`, flip);
    const after = await mended(records);
    expect(after.machine.lostGroups()).toEqual([]);
    expect(after.dispatchStart(orders)).toMatchObject({ floor: 2 * SETTLED_CHUNK });
  });
});

describe('the start is refused, and everything is named', () => {
  it.each([
    ['queue/1', 'the state of queue orders (record "queue/1")'],
    ['definitions/0', 'definitions of queues (record "definitions/0")'],
    ['stream/node-1', 'record "stream/node-1"'],
    ['meta', 'record "meta"'],
  ])('for %s', async (key, words) => {
    const { driver } = machine();
    const records = await stored(driver);
    records.damage(key, flip);
    records.damage('group/1/0', flip);
    const opened = records.open(mendGroups);
    await expect(opened).rejects.toMatchObject({ code: 'damaged' });
    await expect(opened).rejects.toThrow(words);
    await expect(opened).rejects.toThrow('the state of group number 0 of queue');
    await expect(opened).rejects.toThrow('nothing was changed');
  });

  it('for a group, where others have all of it: it is named', async () => {
    const { driver } = machine();
    const records = await stored(driver);
    records.damage('group/1/0', flip);
    const opened = records.open(nameDamaged);
    await expect(opened).rejects.toMatchObject({ code: 'damaged' });
    await expect(opened).rejects.toThrow('the state of group number 0 of queue orders');
  });

  it('for more groups than may be held', async () => {
    const driver = new MachineDriver();
    const queueId = driver.declare('orders', { maxGroups: 100 });
    new Sender(driver).fill(queueId, 3);
    for (let at = 0; at < 65; at += 1) driver.group(queueId, `g-${at}`);
    const records = await stored(driver);
    for (let at = 0; at < 65; at += 1) records.damage(`group/${queueId}/${at}`, flip);
    await expect(records.open(mendGroups)).rejects.toMatchObject({ code: 'damaged' });
  });
});
