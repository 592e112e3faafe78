/** Commands and records of durable sessions, version 1: read for ever, and written as they are. */

import { describe, expect, it } from 'vitest';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import type { RecordData, RecordKey } from '../../src/machine/record-data.ts';
import type { SessionCommand } from '../../src/machine/session-command.ts';
import { PublishKeys } from '../../src/machine/publish-keys.ts';
import { SessionRecord, type StoredSubscription } from '../../src/machine/session-record.ts';
import { CommandDecoder, commandEnd, writePlainCommand } from '../../src/shard/codec.ts';
import { readOptions, writeOptions } from '../../src/shard/enqueue-options.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { TestRecords } from '../machine/record-store.ts';

const queueId = (2 ** 40 + 3) as QueueId;
const owner = { queueId, ownerEpoch: 2 ** 33 };
const offset = (2 ** 34 + 1) as Offset;
const OWNER = '0300000000010000 0000000002000000';
const OFFSET = '0100000004000000';
const subscribed: StoredSubscription = {
  filter: 'a/+',
  qos: 2,
  noLocal: true,
  retainAsPublished: false,
  retainHandling: 2,
  identifier: 268_435_455,
  wish: '{}',
};

const COMMANDS: readonly (readonly [string, SessionCommand])[] = [
  [
    '3e000000 1e 0300000000010000 0500000000000000 01 ffffffff e803000000000000 0000000002000000' +
      '01 0200 7431 0700 6c696665 2dc3a4 01 0300 616e6e',
    {
      kind: 'claim-session',
      queueId,
      epoch: 5,
      token: 't1',
      cleanStart: true,
      incarnation: 'life-ä',
      user: 'ann',
      expirySeconds: 0xffff_ffff,
      limits: { maxMessages: 1_000, maxBytes: 2 ** 33, overflow: 'reject-publish' },
      will: undefined,
    },
  ],
  [
    '3a000000 1e 0300000000010000 0500000000000000 00 3c000000 0000000000000000 0000000000000000' +
      '00 0100 74 0100 69 00 0a000000 77696c6c',
    {
      kind: 'claim-session',
      queueId,
      epoch: 5,
      token: 't',
      cleanStart: false,
      incarnation: 'i',
      user: undefined,
      expirySeconds: 60,
      limits: { maxMessages: 0, maxBytes: 0, overflow: 'drop-head' },
      will: { delaySeconds: 10, message: new Uint8Array(Buffer.from('will')) },
    },
  ],
  [
    `29000000 1f ${OWNER} 01 92 91 94 a3612f2b 26 ce0fffffff a27b7d 91 a162`,
    { kind: 'change-session', ...owner, subscribe: [subscribed], unsubscribe: ['b'] },
  ],
  [
    `2e000000 1f ${OWNER} 01 92 91 97 a3612f2b 26 ce0fffffff a27b7d 05 00 cd012c 91 a162`,
    {
      kind: 'change-session',
      ...owner,
      subscribe: [{ ...subscribed, replay: { run: 5, next: 0, end: 300 } }],
      unsubscribe: ['b'],
    },
  ],
  [
    `2e000000 1f ${OWNER} 01 92 91 94 aa2473686172652f672f61 66 ce0fffffff a27b7d 90`,
    {
      kind: 'change-session',
      ...owner,
      subscribe: [{ ...subscribed, filter: '$share/g/a', isRouted: true }],
      unsubscribe: [],
    },
  ],
  [
    `21000000 27 ${OWNER} 01 91 94 a3612f2b 05 07 cd012c`,
    { kind: 'replay-session', ...owner, replays: [{ filter: 'a/+', run: 5, next: 7, end: 300 }] },
  ],
  [`1d000000 20 ${OWNER} ${OFFSET}`, { kind: 'halve-session', ...owner, offset }],
  [`1d000000 21 ${OWNER} ${OFFSET}`, { kind: 'finish-session', ...owner, offset }],
  [
    `1a000000 22 ${OWNER} 01 3c000000`,
    { kind: 'leave-session', ...owner, expirySeconds: 60, isInPeace: false },
  ],
  [
    `16000000 22 ${OWNER} 00`,
    { kind: 'leave-session', ...owner, expirySeconds: undefined, isInPeace: false },
  ],
  [
    `1b000000 22 ${OWNER} 01 3c000000 01`,
    { kind: 'leave-session', ...owner, expirySeconds: 60, isInPeace: true },
  ],
  [`15000000 26 ${OWNER}`, { kind: 'end-will', queueId: owner.queueId, number: owner.ownerEpoch }],
  [`15000000 23 ${OWNER}`, { kind: 'resume-session', ...owner }],
  [`15000000 24 ${OWNER}`, { kind: 'delete-session', ...owner }],
  [`17000000 25 ${OWNER} ff00`, { kind: 'receive-session', ...owner, packetId: 255 }],
  [
    `30000000 28 ${OWNER} ff00 0700000000000000 01 0a00000000100000 ${OWNER.slice(0, 16)}`,
    {
      kind: 'choose-session',
      ...owner,
      packetId: 255,
      token: 7,
      choices: [{ share: 2 ** 44 + 10, queueId }],
      isInstead: true,
    },
  ],
];

describe('commands of sessions, version 1', () => {
  it.each(COMMANDS)('are written and read as they always were: %s', (hex, command) => {
    const writer = new WireWriter(64);
    writePlainCommand(writer, command);
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    expect(Buffer.from(writer.take()).toString('hex')).toBe(bytes.toString('hex'));
    const place = { node: '', boot: 0, number: 0, answeredUpTo: 0 };
    expect(new CommandDecoder().decode(bytes, 0, place)).toEqual(command);
    expect(commandEnd(bytes, 0)).toBe(bytes.length);
  });
});

describe('the options of a retained message on its way to a session, version 1', () => {
  const replay = { ownerEpoch: 2 ** 33, run: 5, from: 6, at: 2 ** 34, next: 9, room: 32 };
  const of = { ttlMs: 300, priority: 0, delayMs: 0, producer: undefined, key: undefined, replay };
  const step =
    '0000000002000000 0500000000000000 0600000000000000 0000000004000000 0900000000000000 20000000';
  const hex = `3500 41 2c01000000000000 ${step}`.replaceAll(' ', '');

  it('are written and read as they always were', () => {
    const writer = new WireWriter(64);
    writeOptions(writer, of);
    const bytes = writer.take();
    expect(Buffer.from(bytes).toString('hex')).toBe(hex);
    expect(readOptions(bytes, 0, bytes.length)).toEqual(of);
  });

  it('go with a life alone', () => {
    const bytes = Buffer.from(`2e00 42 05 ${step}`.replaceAll(' ', ''), 'hex');
    expect(() => readOptions(bytes, 0, bytes.length)).toThrow('a replay with the bits 66');
  });
});

describe('the record of a session, version 1', () => {
  const data = [
    1,
    7,
    't1',
    1,
    'i0',
    'i1',
    60,
    5_000,
    6_000,
    [['a/+', 38, 268_435_455, '{}']],
    [3, 9],
    'ann',
  ];

  it('is read as it was meant, and written again as it was', () => {
    const record = SessionRecord.fromData(data);
    expect(record).toMatchObject({ ownerEpoch: 7, token: 't1', wasPresent: true, before: 'i0' });
    expect(record).toMatchObject({ incarnation: 'i1', expirySeconds: 60, endsAt: 5_000 });
    expect(record).toMatchObject({ checkAt: 6_000, subscriptions: [subscribed], halves: [3, 9] });
    expect(record.user).toBe('ann');
    expect(record.toData()).toEqual(data);
  });

  it('tells how far the retained messages of a subscription are', () => {
    const owing = data.with(9, [['a/+', 38, 268_435_455, '{}', 5, 7, 300]]);
    const record = SessionRecord.fromData(owing);
    const replay = { run: 5, next: 7, end: 300 };
    expect(record.subscriptions).toEqual([{ ...subscribed, replay }]);
    expect(record.toData()).toEqual(owing);
  });

  it('says of a subscription to a share that all nodes know of it', () => {
    const routed = data.with(9, [['$share/g/a', 102, 0, '']]);
    const record = SessionRecord.fromData(routed);
    expect(record.subscriptions).toMatchObject([{ filter: '$share/g/a', isRouted: true, qos: 2 }]);
    expect(record.toData()).toEqual(routed);
    // No share, none with a filter, at QoS 0, and a flag that nobody knows.
    const wrong = ['a/+', 102, '$share/asleep', 102, '$share/g/a', 100, '$share/g/a', 128];
    for (let at = 0; at < wrong.length; at += 2) {
      const stored = [...wrong.slice(at, at + 2), 0, ''];
      expect(() => SessionRecord.fromData(data.with(9, [stored]))).toThrow('mqtt-session');
    }
  });
});

function saved(records: TestRecords): RecordData | undefined {
  records.save();
  return records.store.get('session/s' as RecordKey);
}

describe('the keys of publishes', () => {
  const bits = new Uint8Array(32).fill(1);

  it('are read from version 1, and written so where no publish in parts is begun', () => {
    const records = new TestRecords();
    const keys = new PublishKeys(records.table);
    keys.load('sessions', 'all', [1, 1]);
    keys.load('session', 's', [1, 4, 0, bits]);
    expect(keys.check({ session: 's', ownerEpoch: 4, packetId: 8 })).toBe('known');
    keys.take({ session: 's', ownerEpoch: 4, packetId: 8 });
    expect(saved(records)).toEqual([1, 4, 0, bits]);
    const part = { after: 0, through: 77 };
    keys.take({ session: 's', ownerEpoch: 4, packetId: 300, part });
    expect(saved(records)).toEqual([2, 4, [300, 77], 0, bits]);
  });

  it('are in version 3 where members of shares are chosen', () => {
    const records = new TestRecords();
    const keys = new PublishKeys(records.table);
    keys.load('sessions', 'all', [1, 1]);
    const chosen = [
      [8, 3],
      [300, 4, 5, 6, 7, 8],
    ];
    const data = [3, 4, [300, 77], chosen, 0, bits];
    keys.load('session', 's', data);
    keys.take({ session: 's', ownerEpoch: 4, packetId: 8 });
    expect(saved(records)).toEqual(data);
    for (const packetId of [8, 300]) keys.release({ session: 's', ownerEpoch: 4, packetId });
    const left = bits.with(1, 0);
    expect(saved(records)).toEqual([1, 4, 0, left]);
  });

  it('are read from version 2', () => {
    const keys = new PublishKeys(new TestRecords().table);
    keys.load('session', 's', [2, 4, [300, 77], 0, bits]);
    const key = { session: 's', ownerEpoch: 4, packetId: 300 };
    expect([keys.check(key), keys.storedThrough(key)]).toEqual(['new', 77]);
  });
});
