/** A message of the dispatcher's world as the log has it. */

import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';

interface Published {
  readonly offset: number;
  readonly topic: string;
  readonly expirySeconds?: number | undefined;
}

export function storedBytes(now: number, { offset, topic, expirySeconds }: Published): Uint8Array {
  const writer = new WireWriter(256);
  const stored = new StoredMessageWriter();
  stored.publishedAtMs = now;
  const properties =
    expirySeconds === undefined
      ? undefined
      : { userProperties: [['a', 'b']] as [string, string][], expirySeconds };
  const payload = Buffer.from(`message ${offset}`);
  const message = { topic, payload, qos: 1, retain: false, properties } as const;
  stored.write(writer, message, { clientId: 'someone', protocol: 'mqtt' });
  return writer.written().slice();
}
