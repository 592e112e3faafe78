import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { CodecError, WireWriter } from '../../src/shard/wire.ts';
import { type Surrounded, clientId, comparable } from '../support/shard-messages.ts';
import { damaged, message, surrounded } from '../support/shard-messages.ts';

function stored(given: Message, client = 'c', publishedAtMs = 1_700_000_000_000): Uint8Array {
  const writer = new WireWriter(16);
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = publishedAtMs;
  expect(messages.write(writer, given, { clientId: client, protocol: 'mqtt' })).toBe(true);
  return writer.take();
}

function read(
  bytes: Uint8Array,
  start = 0,
  end = bytes.length,
): Message & { client: string; publishedAtMs: number } {
  const view = new StoredMessageView(bytes, start, end);
  return {
    topic: view.topic,
    payload: new Uint8Array(view.payload),
    qos: view.qos,
    retain: view.retain,
    properties: view.properties,
    client: view.origin.clientId,
    publishedAtMs: view.publishedAtMs,
  };
}

const plain: Message = {
  topic: '$queue/orders',
  payload: new Uint8Array([1, 2, 3]),
  qos: 1,
  retain: false,
  properties: undefined,
};

describe('stored message', () => {
  it('comes back with every property, in order, and with its origin', () => {
    fc.assert(
      fc.property(message, clientId, fc.maxSafeNat(), (given, client, publishedAtMs) => {
        const {
          client: readClient,
          publishedAtMs: readAt,
          ...back
        } = read(stored(given, client, publishedAtMs));
        expect(back).toEqual(comparable(given));
        expect(readClient).toBe(client);
        expect(readAt).toBe(publishedAtMs);
      }),
      { numRuns: 500 },
    );
  });

  it('tells the user of its publisher, first, and only where there is one', () => {
    fc.assert(
      fc.property(message, clientId, clientId, (given, client, user) => {
        const writer = new WireWriter(16);
        const origin = { clientId: client, user, protocol: 'mqtt' } as const;
        expect(new StoredMessageWriter().write(writer, given, origin)).toBe(true);
        const bytes = writer.take();
        const view = new StoredMessageView(bytes, 0, bytes.length);
        expect(view.origin).toEqual(origin);
        expect(view.properties).toEqual(comparable(given).properties);
        expect(new Uint8Array(view.payload)).toEqual(new Uint8Array(given.payload));
        for (const wrong of damaged(bytes)) {
          expect(outcome(surrounded(wrong, 0xff))).toEqual(outcome(surrounded(wrong, 0)));
        }
      }),
      { numRuns: 30 },
    );
    expect(new StoredMessageView(stored(plain), 0, stored(plain).length).origin).toEqual({
      clientId: 'c',
      protocol: 'mqtt',
    });
  });

  it('has a payload that is a view of the bytes it was read from', () => {
    const bytes = stored(plain);
    const view = new StoredMessageView(bytes, 0, bytes.length);
    expect(view.payload.buffer).toBe(bytes.buffer);
  });

  it('is a typed error or another message when damaged, and never reads outside its bounds', () => {
    fc.assert(
      fc.property(message, (given) => {
        for (const bytes of damaged(stored(given))) {
          expect(outcome(surrounded(bytes, 0xff))).toEqual(outcome(surrounded(bytes, 0)));
        }
      }),
      { numRuns: 20 },
    );
  });

  it('is never given when truncated, nor with a byte too many', () => {
    const bytes = stored({
      ...plain,
      properties: { contentType: 'x', userProperties: [['a', 'b']] },
    });
    for (let length = 0; length < bytes.length; length++) {
      expect(() => read(bytes.slice(0, length)), String(length)).toThrow(CodecError);
    }
    const longer = new Uint8Array([...bytes, 0]);
    expect(() => read(longer)).toThrow(expect.objectContaining({ code: 'bad-length' }));
  });

  it('refuses a version that it does not know', () => {
    const bytes = stored(plain);
    bytes[0] = 2;
    expect(() => read(bytes)).toThrow(expect.objectContaining({ code: 'unknown-version' }));
  });

  it('refuses a property that comes twice', () => {
    const bytes = stored({ ...plain, properties: { priority: 1, payloadIsText: true } });
    const at = bytes.length - plain.payload.length - 4;
    bytes[at + 2] = bytes[at] ?? 0;
    expect(() => read(bytes)).toThrow(expect.objectContaining({ code: 'bad-value' }));
  });

  it('is not written when a text is too long for its length field', () => {
    const writer = new WireWriter(16);
    const messages = new StoredMessageWriter();
    const origin = { clientId: 'c', protocol: 'mqtt' } as const;
    const long = 'ä'.repeat(32_768);
    expect(messages.write(writer, { ...plain, topic: long }, origin)).toBe(false);
    expect(messages.write(writer, plain, { ...origin, clientId: long })).toBe(false);
    expect(writer.length).toBe(0);
    expect(messages.write(writer, { ...plain, topic: long.slice(1) }, origin)).toBe(true);
  });
});

function outcome({ bytes, start, end }: Surrounded): unknown {
  try {
    return read(bytes, start, end);
  } catch (error) {
    if (error instanceof CodecError) return error.code;
    throw error;
  }
}
