/** The bytes of version 1: what is in logs today must be read for ever, and written as it is. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { EnqueueOptions } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import { beginEnqueue, finishCommand, storedMessageStart } from '../../src/shard/codec.ts';
import { beginTransfer, commandEnd, writePlainCommand } from '../../src/shard/codec.ts';
import { writeRelease, writeVoid } from '../../src/shard/codec.ts';
import { EntryReader, encodeSectionHeader } from '../../src/shard/entry.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { comparable } from '../support/shard-messages.ts';

const given: Message = {
  topic: '$queue/orders/ä',
  payload: new Uint8Array([0, 1, 254, 255]),
  qos: 2,
  retain: true,
  properties: {
    contentType: 'text/plain',
    correlationId: new Uint8Array([7, 0, 9]),
    replyTo: 'reply/here',
    messageId: 'm-1',
    userProperties: [
      ['b', '2'],
      ['a', '1'],
      ['b', '3'],
    ],
    expirySeconds: 4_000_000_000,
    priority: 9,
    timestampMs: 1_700_000_000_123,
    payloadIsText: false,
  },
};

const from = { clientId: 'client-1', protocol: 'mqtt' } as const;
const key = { session: 's-1', ownerEpoch: 2 ** 33, packetId: 65_535 };
const options: EnqueueOptions = {
  ttlMs: 60_000,
  priority: 9,
  delayMs: 2 ** 34,
  producer: { id: 'p-1', sequence: 2 ** 35 },
  key,
};

function stream(): { bytes: Uint8Array; commands: number } {
  const writer = new WireWriter(64);
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = 1_700_000_000_456;
  const targets = [1 as QueueId, (2 ** 40 + 3) as QueueId];
  const start = beginEnqueue(writer, targets);
  messages.write(writer, given, from);
  finishCommand(writer, start);
  writeVoid(writer, 'disk-full');
  const optioned = beginEnqueue(writer, targets, options);
  messages.write(writer, given, from);
  finishCommand(writer, optioned);
  writeRelease(writer, key);
  return { bytes: writer.take(), commands: 4 };
}

function plain(): { bytes: Uint8Array; commands: number } {
  const writer = new WireWriter(64);
  const queueId = 5 as QueueId;
  const groupId = 0 as GroupId;
  const offset = (2 ** 33 + 1) as Offset;
  writePlainCommand(writer, {
    kind: 'settle',
    queueId,
    groupId,
    offset,
    outcome: 'requeue',
    cause: 'lost',
  });
  const limits = DEFAULT_LIMITS;
  const of = { queueId, groupId: 7 as GroupId };
  const range = { from: 1 as Offset, to: 9 as Offset };
  const topics = ['$queue/orders/#', '$queue/o'];
  writePlainCommand(writer, {
    kind: 'declare-queue',
    name: 'orders',
    type: 'classic',
    topics,
    limits,
  });
  writePlainCommand(writer, { kind: 'update-queue', queueId, limits });
  writePlainCommand(writer, { kind: 'delete-queue', queueId });
  writePlainCommand(writer, { kind: 'set-version', version: 2 });
  writePlainCommand(writer, { kind: 'settle-range', ...of, ...range, cause: 'expired' });
  const name = { kind: 'create-group', queueId, name: 'g@a/+', filter: 'a/+' } as const;
  const start = { kind: 'time', ms: 1_700_000_000_000 } as const;
  writePlainCommand(writer, { ...name, groupKind: 'automatic', start });
  writePlainCommand(writer, { ...name, groupKind: 'explicit', start: undefined });
  writePlainCommand(writer, { kind: 'delete-group', ...of });
  const position = { kind: 'offset', offset: 2 ** 33 } as const;
  writePlainCommand(writer, { kind: 'seek-group', ...of, position });
  writePlainCommand(writer, { kind: 'idle-group', ...of, idle: true });
  writePlainCommand(writer, { kind: 'retain', queueId, start: offset });
  writePlainCommand(writer, { kind: 'fire-timers', max: 1024 });
  const transfer = beginTransfer(writer, {
    intent: 2 ** 36,
    targets: [queueId],
    options: undefined,
  });
  new StoredMessageWriter().write(writer, given, from);
  finishCommand(writer, transfer);
  writePlainCommand(writer, { kind: 'skip-intent', intent: 5, reason: 'hop-limit' });
  writePlainCommand(writer, { kind: 'move-range', ...of, ...range, target: 'source' });
  writePlainCommand(writer, { kind: 'move-range', ...of, ...range, target: queueId });
  writePlainCommand(writer, { kind: 'end-session', session: 's-1' });
  return { bytes: writer.take(), commands: 18 };
}

function opening(): { bytes: Uint8Array; commands: number } {
  const writer = new WireWriter(64);
  writePlainCommand(writer, { kind: 'open-stream', node: 'n1' });
  return { bytes: writer.take(), commands: 1 };
}

function entry(): Uint8Array {
  const none = { boot: 0, firstNumber: 0, answeredUpTo: 0, stampMs: 1_700_000_000_789 };
  const numbered = { ...none, boot: 3, firstNumber: 41, answeredUpTo: 40 };
  const sections = [
    { head: { ...none, node: 'n1' }, body: opening() },
    { head: { ...numbered, node: 'n1' }, body: stream() },
    { head: { ...none, node: '' }, body: plain() },
  ];
  const parts = sections.flatMap(({ head, body: { bytes, commands } }) => [
    encodeSectionHeader({ ...head, commands, commandBytes: bytes.length }),
    bytes,
  ]);
  return new Uint8Array(Buffer.concat(parts));
}

async function golden(): Promise<Uint8Array> {
  const path = join(import.meta.dirname, '../fixtures/entry-v1.hex');
  return new Uint8Array(Buffer.from((await readFile(path, 'utf8')).replaceAll(/\s/g, ''), 'hex'));
}

describe('an entry of version 1', () => {
  it('is written as it always was', async () => {
    expect(Buffer.from(entry()).toString('hex')).toBe(Buffer.from(await golden()).toString('hex'));
  });

  it('is read as it was meant', async () => {
    const bytes = await golden();
    const reader = new EntryReader();
    reader.reset([bytes]);
    const kinds: string[] = [];
    for (let command = reader.next(); command !== undefined; command = reader.next()) {
      kinds.push(command.kind);
      if (command.kind === 'release') expect(command).toMatchObject({ number: 44, key });
      if (command.kind !== 'enqueue') continue;
      const plainly = command.options === undefined;
      expect(command).toMatchObject({ node: 'n1', boot: 3, answeredUpTo: 40 });
      expect(command.number).toBe(plainly ? 41 : 43);
      expect(command.topic).toBe(given.topic);
      if (!plainly) expect(command.options).toEqual(options);
      const start = storedMessageStart(bytes, reader.position);
      const view = new StoredMessageView(bytes, start, commandEnd(bytes, reader.position));
      expect(comparable(view)).toEqual(given);
      expect(view.publishedAtMs).toBe(1_700_000_000_456);
    }
    expect(kinds).toEqual([
      'open-stream',
      'enqueue',
      'void',
      'enqueue',
      'release',
      'settle',
      'declare-queue',
      'update-queue',
      'delete-queue',
      'set-version',
      'settle-range',
      'create-group',
      'create-group',
      'delete-group',
      'seek-group',
      'idle-group',
      'retain',
      'fire-timers',
      'transfer',
      'skip-intent',
      'move-range',
      'move-range',
      'end-session',
    ]);
  });
});
