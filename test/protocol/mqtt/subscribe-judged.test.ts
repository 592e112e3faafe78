/** A SUBSCRIBE of many filters, where each is judged by rules: no turn takes long. */

import { generate, type Packet } from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';

import type { AccessRights } from '../../../src/protocol/access.ts';
import { MqttServer } from '../../support/mqtt-server.ts';
import { ASKS_NOBODY } from '../../support/rights.ts';

let server: MqttServer;

afterEach(() => server.stop());

async function startWith(rights: AccessRights): Promise<void> {
  const access = {
    version: 1,
    admit: () => ({ rights }),
    exchange: () => undefined,
    onChange: (): void => {},
    mayPublish: () => true,
    isTakenBack: () => false,
    mayDeclare: () => true,
  };
  server = await new MqttServer({ access }).start();
}

/** A turn of the loop each, as often as it is asked for. */
class Turns {
  number = 0;
  #timer: NodeJS.Immediate | undefined;

  start(): void {
    this.#timer = setImmediate(() => {
      this.number++;
      this.start();
    });
  }

  stop(): void {
    clearImmediate(this.#timer);
  }
}

describe('a SUBSCRIBE of many filters', () => {
  const subscriptions = Array.from({ length: 1000 }, (_, at) => ({ topic: `a/${at}`, qos: 0 }));

  test('is judged a few a turn, answered once and in order, before what comes behind it', async () => {
    const turns = new Turns();
    const judged = new Map<number, number>();
    const log: string[] = [];
    const may = (action: string, topic: string): boolean => {
      if (action === 'publish') log.push(topic);
      else judged.set(turns.number, (judged.get(turns.number) ?? 0) + 1);
      if (topic === 'a/999') log.push(topic);
      return topic !== 'a/998';
    };
    const rights = {
      user: 'u',
      isRevoked: false,
      hasEnded: false,
      ...ASKS_NOBODY,
      may,
      allows: () => true,
    };
    await startWith(rights);
    const client = await server.client();
    turns.start();
    const publish = { cmd: 'publish', topic: 'a/1', payload: 'x', qos: 0 };
    const packets = [{ cmd: 'subscribe', messageId: 7, subscriptions }, publish];
    const bytes = packets.map((each) =>
      generate(each as unknown as Packet, { protocolVersion: 5 }),
    );
    client.socket.write(Buffer.concat(bytes));
    const granted = (await client.expect('suback'))['granted'] as number[];
    turns.stop();
    expect(granted).toHaveLength(1000);
    expect(granted.flatMap((code, at) => (code === 0 ? [] : [[at, code]]))).toEqual([[998, 0x87]]);
    expect(Math.max(...judged.values())).toBeLessThanOrEqual(50);
    expect(await client.expect('publish')).toMatchObject({ topic: 'a/1' });
    expect(log).toEqual(['a/999', 'a/1']);
  });

  test('is given up when its connection ends', async () => {
    let judged = 0;
    const may = (): boolean => {
      if (++judged === 60) void server.listener.stop();
      return true;
    };
    const rights = {
      user: 'u',
      isRevoked: false,
      hasEnded: false,
      ...ASKS_NOBODY,
      may,
      allows: () => true,
    };
    await startWith(rights);
    const client = await server.client();
    client.send({ cmd: 'subscribe', messageId: 7, subscriptions });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);
    expect(judged).toBe(100);
  });
});
