import { describe, expect, it } from 'vitest';
import type { MessageProperties } from '../../src/broker/message.ts';
import type { LogIndex } from '../../src/machine/ids.ts';
import { expiresAtMs, topicOf } from '../../src/shard/stored-peek.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';

const PUBLISHED = 1_700_000_000_000;

/** A stored message somewhere in the middle of other bytes. */
function stored(properties?: MessageProperties, topic = '$queue/orders/ü') {
  const writer = new WireWriter(64);
  writer.text32('something before');
  const start = writer.length;
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = PUBLISHED;
  const payload = Buffer.from('payload');
  const message = { topic, payload, qos: 1, retain: false, properties } as const;
  messages.write(writer, message, { clientId: 'client-ß', protocol: 'mqtt' });
  const end = writer.length;
  writer.text32('something behind');
  return { bytes: writer.written(), start, end, index: 1 as LogIndex };
}

const all: MessageProperties = {
  contentType: 'text/plain',
  correlationId: Buffer.from([6, 6, 6, 6, 6, 6]),
  replyTo: 'back',
  messageId: 'm-1',
  userProperties: [
    ['a', 'b'],
    ['', ''],
  ],
  priority: 6,
  timestampMs: 6,
  payloadIsText: true,
};

describe('what is looked up in a stored message', () => {
  it('its topic', () => {
    expect(topicOf(stored())).toBe('$queue/orders/ü');
    expect(topicOf(stored(all, 't'))).toBe('t');
  });

  it('its own expiry, among whatever other properties', () => {
    expect(expiresAtMs(stored({ expirySeconds: 60 }), 0)).toBe(PUBLISHED + 60_000);
    expect(expiresAtMs(stored({ ...all, expirySeconds: 4_000_000_000 }), 0)).toBe(
      PUBLISHED + 4_000_000_000_000,
    );
    expect(expiresAtMs(stored({ ...all, expirySeconds: 0 }), 0)).toBe(PUBLISHED);
  });

  it('none, with and without other properties', () => {
    expect(expiresAtMs(stored(), 0)).toBe(Infinity);
    expect(expiresAtMs(stored(all), 0)).toBe(Infinity);
  });

  it('or the time to live of its queue, whichever ends first', () => {
    expect(expiresAtMs(stored(), 500)).toBe(PUBLISHED + 500);
    expect(expiresAtMs(stored(all), 500)).toBe(PUBLISHED + 500);
    expect(expiresAtMs(stored({ expirySeconds: 1 }), 500)).toBe(PUBLISHED + 500);
    expect(expiresAtMs(stored({ expirySeconds: 1 }), 5_000)).toBe(PUBLISHED + 1_000);
  });
});
