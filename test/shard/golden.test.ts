/** The bytes of version 1: what is in logs today must be read for ever, and written as it is. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import { beginEnqueue, finishCommand, storedMessageStart } from '../../src/shard/codec.ts';
import { commandEnd, writePlainCommand, writeVoid } from '../../src/shard/codec.ts';
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

function stream(): { bytes: Uint8Array; commands: number } {
  const writer = new WireWriter(64);
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = 1_700_000_000_456;
  const start = beginEnqueue(writer, [1 as QueueId, (2 ** 40 + 3) as QueueId]);
  messages.write(writer, given, { clientId: 'client-1', protocol: 'mqtt' });
  finishCommand(writer, start);
  writeVoid(writer, 'disk-full');
  return { bytes: writer.take(), commands: 2 };
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
  return { bytes: writer.take(), commands: 5 };
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
      if (command.kind !== 'enqueue') continue;
      expect(command).toMatchObject({ node: 'n1', boot: 3, number: 41, answeredUpTo: 40 });
      const start = storedMessageStart(bytes, reader.position);
      const view = new StoredMessageView(bytes, start, commandEnd(bytes, reader.position));
      expect(comparable(view)).toEqual(given);
      expect(view.publishedAtMs).toBe(1_700_000_000_456);
    }
    expect(kinds).toEqual([
      'open-stream',
      'enqueue',
      'void',
      'settle',
      'declare-queue',
      'update-queue',
      'delete-queue',
      'set-version',
    ]);
  });
});
