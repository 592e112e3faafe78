/** Messages between shards as they are in logs today: read for ever, and written as they are. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { QueueId, StampMs } from '../../src/machine/ids.ts';
import { CommandDecoder, beginTake, commandEnd } from '../../src/shard/codec.ts';
import { enqueuesTo, finishCommand, writePlainCommand } from '../../src/shard/codec.ts';
import { storedMessageStart } from '../../src/shard/codec.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { comparable } from '../support/shard-messages.ts';

const queueId = (2 ** 40 + 3) as QueueId;
const options = {
  ttlMs: 60_000,
  priority: 9,
  delayMs: 0,
  producer: undefined,
  key: undefined,
};
const take = {
  from: 63,
  number: 2 ** 33,
  opened: 1_700_000_000_000 as StampMs,
  lowestOpen: 2 ** 33 - 1_000,
  targets: [queueId],
};
const message: Message = {
  topic: '$queue/letters/ä',
  payload: new Uint8Array([0, 1, 254, 255]),
  qos: 1,
  retain: false,
  properties: { userProperties: [['_flux.hops', '1']] },
};
const route = { kind: 'route-intent', intent: 2 ** 36, queueId } as const;
const end = { kind: 'end-route', intent: 2 ** 36, number: 7, how: 'gone', next: 2 ** 34 } as const;

function written(): Uint8Array {
  const writer = new WireWriter(64);
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = 1_700_000_000_456;
  writePlainCommand(writer, route);
  writePlainCommand(writer, end);
  for (const asked of [undefined, options]) {
    const start = beginTake(writer, { ...take, options: asked });
    messages.write(writer, message, { clientId: 'client-1', protocol: 'mqtt' });
    finishCommand(writer, start);
  }
  return writer.take();
}

async function golden(): Promise<Uint8Array> {
  const path = join(import.meta.dirname, '../fixtures/transfers-v1.hex');
  return new Uint8Array(Buffer.from((await readFile(path, 'utf8')).replaceAll(/\s/g, ''), 'hex'));
}

describe('commands of messages between shards, version 1', () => {
  it('are written as they always were', async () => {
    const bytes = Buffer.from(await golden());
    expect(Buffer.from(written()).toString('hex')).toBe(bytes.toString('hex'));
  });

  it('are read as they were meant', async () => {
    const bytes = await golden();
    const decoder = new CommandDecoder();
    const place = { node: '', boot: 0, number: 0, answeredUpTo: 0 };
    const second = commandEnd(bytes, 0);
    const third = commandEnd(bytes, second);
    const last = commandEnd(bytes, third);
    expect(decoder.decode(bytes, 0, place)).toEqual(route);
    expect(decoder.decode(bytes, second, place)).toEqual(end);
    for (const [at, asked] of [
      [third, undefined],
      [last, options],
    ] as const) {
      const { topic } = message;
      const read = decoder.decode(bytes, at, place);
      expect(read).toMatchObject({ kind: 'take-transfer', ...take, topic, options: asked });
      expect(enqueuesTo(bytes, at, queueId)).toBe(true);
      const stored = storedMessageStart(bytes, at);
      const view = new StoredMessageView(bytes, stored, commandEnd(bytes, at));
      expect(comparable(view)).toEqual(message);
    }
    expect(commandEnd(bytes, last)).toBe(bytes.length);
  });
});
