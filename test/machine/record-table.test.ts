import { describe, expect, it } from 'vitest';
import type { CapturedRecord, RecordData, RecordKey } from '../../src/machine/record-data.ts';
import { RecordTable, Resident } from '../../src/machine/record-table.ts';

class Counter {
  value: number;

  constructor(value: number) {
    this.value = value;
  }

  toData(): RecordData {
    return this.value;
  }
}

class Holder {
  readonly gone: string[] = [];

  evicted(resident: { readonly key: RecordKey }): void {
    this.gone.push(resident.key);
  }
}

function setUp() {
  const table = new RecordTable();
  const holder = new Holder();
  const make = (key: string, value: number) =>
    new Resident(key as RecordKey, new Counter(value), holder);
  const change = (resident: Resident<Counter>, value: number) => {
    table.touch(resident);
    resident.content.value = value;
  };
  const captured = (max = 100) => {
    const into: CapturedRecord[] = [];
    while (!table.capture(max, into));
    return Object.fromEntries(into.map(({ key, data }) => [key, data]));
  };
  return { table, holder, make, change, captured };
}

describe('the cut of a checkpoint', () => {
  it('holds what changed since the last one, as it was at the freeze', () => {
    const { table, make, change, captured } = setUp();
    const [a, b] = [make('a', 1), make('b', 1)];
    table.create(a);
    table.adopt(b);
    table.freeze();
    expect(captured()).toEqual({ a: 1 });
    table.thaw();
    change(b, 2);
    change(b, 3);
    expect(table.changed).toBe(1);
    table.freeze();
    expect(table.changed).toBe(0);
    expect(captured()).toEqual({ b: 3 });
  });

  it('captures first what is about to change before its turn, and only then', () => {
    const { table, make, change, captured } = setUp();
    const records = [1, 2, 3, 4].map((value) => make(`r${value}`, value));
    for (const record of records) table.create(record);
    table.freeze();
    const into: CapturedRecord[] = [];
    expect(table.capture(1, into)).toBe(false);
    expect(into).toEqual([{ key: 'r1', data: 1 }]);
    const [first, , third] = records as [Resident<Counter>, unknown, Resident<Counter>];
    change(first, 10);
    change(third, 30);
    change(third, 31);
    expect(captured(1)).toEqual({ r2: 2, r3: 3, r4: 4 });
    table.thaw();
    table.freeze();
    expect(captured()).toEqual({ r1: 10, r3: 31 });
  });

  it('holds a record that was removed after the freeze, and the next cut its removal', () => {
    const { table, make, captured } = setUp();
    const [kept, removed] = [make('kept', 1), make('removed', 2)];
    table.create(kept);
    table.create(removed);
    table.freeze();
    table.remove(removed);
    table.removeAbsent('absent' as RecordKey);
    expect(captured()).toEqual({ kept: 1, removed: 2 });
    table.thaw();
    expect(table.size).toBe(1);
    table.freeze();
    expect(captured()).toEqual({ removed: undefined, absent: undefined });
  });

  it('holds a key once when a record was removed and made again', () => {
    const { table, make } = setUp();
    const first = make('a', 1);
    table.create(first);
    table.remove(first);
    table.create(make('a', 2));
    table.freeze();
    const into: CapturedRecord[] = [];
    expect(table.capture(100, into)).toBe(true);
    expect(into).toEqual([{ key: 'a', data: 2 }]);
  });

  it('comes one after the other, each whole', () => {
    const { table, make } = setUp();
    table.create(make('a', 1));
    expect(() => table.thaw()).toThrow('nothing is frozen');
    table.freeze();
    expect(() => table.freeze()).toThrow('not durable');
    expect(() => table.thaw()).toThrow('not complete');
    expect(table.capture(100, [])).toBe(true);
    table.thaw();
  });
});

describe('eviction', () => {
  it('never takes a record whose change is not in a durable cut', () => {
    const { table, holder, make, change, captured } = setUp();
    const [a, b] = [make('a', 1), make('b', 1)];
    table.create(a);
    table.create(b);
    expect(table.evict(0, 100)).toBe(0);
    table.freeze();
    expect(table.evict(0, 100)).toBe(0);
    captured();
    change(b, 2);
    expect(table.evict(0, 100)).toBe(0);
    table.thaw();
    expect(table.evict(0, 100)).toBe(1);
    expect(holder.gone).toEqual(['a']);
    expect(table.size).toBe(1);
  });

  it('takes first what was not used lately, down to the bound, in bounded steps', () => {
    const { table, holder, make } = setUp();
    const records = Array.from({ length: 10 }, (_, i) => make(`r${i}`, i));
    for (const record of records) table.adopt(record);
    // The first round takes the marks away.
    expect(table.evict(8, 10)).toBe(0);
    for (const record of records.slice(0, 7)) record.used = true;
    expect(table.evict(8, 100)).toBe(2);
    expect(holder.gone.every((key) => key > 'r6')).toBe(true);
    expect(table.size).toBe(8);
    expect(table.evict(0, 3)).toBeLessThanOrEqual(3);
  });

  it('ends where nothing may be taken', () => {
    const { table, make } = setUp();
    table.create(make('a', 1));
    expect(table.evict(0, Infinity)).toBe(0);
  });
});
