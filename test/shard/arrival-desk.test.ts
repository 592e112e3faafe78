import { describe, expect, it } from 'vitest';
import type { QueueId, StampMs } from '../../src/machine/ids.ts';
import type { RouteEnd } from '../../src/machine/command.ts';
import { ArrivalDesk } from '../../src/shard/arrival-desk.ts';
import { beginEnqueue, beginTake, finishCommand } from '../../src/shard/codec.ts';
import { decodeRequest, encodeRequest } from '../../src/shard/requests.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { CodecError, WireWriter } from '../../src/shard/wire.ts';
import { message } from '../support/outbox-world.ts';

const opened = 7 as StampMs;

function stored(begin: (writer: WireWriter) => number): Uint8Array {
  const writer = new WireWriter(64);
  const start = begin(writer);
  new StoredMessageWriter().write(writer, message(1), { clientId: 'c', protocol: 'mqtt' });
  finishCommand(writer, start);
  return writer.take();
}

function take(number: number): Uint8Array {
  const targets = [1 as QueueId];
  const of = { from: 2, number, opened, lowestOpen: 1, targets, options: undefined };
  return stored((writer) => beginTake(writer, of));
}

function rig() {
  const state = { full: false, inReserve: false, isOpen: true, proposed: 0 };
  const desk = new ArrivalDesk({
    proposals: {
      get full() {
        return state.full;
      },
      transfer: () => {
        state.proposed += state.isOpen ? 1 : 0;
        return state.isOpen;
      },
    },
    inReserve: () => state.inReserve,
    wake: () => undefined,
  });
  const says = (number: number, how: RouteEnd): void =>
    desk.rare({ kind: 'arrived', from: 2, number, opened, how, next: 9 });
  return { state, desk, says };
}

describe('a message that another shard brings', () => {
  it('is answered when it is applied, whatever is applied before', async () => {
    const { desk, says } = rig();
    const answers = Promise.all([desk.take(take(1)), desk.take(take(2))]);
    says(2, 'refused');
    says(3, 'gone');
    says(1, 'taken');
    expect(await answers).toEqual([
      { kind: 'taken', next: 9 },
      { kind: 'refused', next: 9 },
    ]);
  });

  it('is not proposed again while it is under way; who asked last hears the answer', async () => {
    const { state, desk, says } = rig();
    const first = desk.take(take(1));
    const second = desk.take(take(1));
    expect(state.proposed).toBe(1);
    says(1, 'taken');
    await expect(first).rejects.toMatchObject({ code: 'unavailable' });
    expect((await second).kind).toBe('taken');
  });

  it('is for later where there is no room for it, or nobody leads', async () => {
    const { state, desk } = rig();
    state.full = true;
    await expect(desk.take(take(1))).rejects.toMatchObject({ code: 'unavailable' });
    Object.assign(state, { full: false, inReserve: true });
    await expect(desk.take(take(1))).rejects.toMatchObject({ code: 'unavailable' });
    expect(state.proposed).toBe(0);
    state.inReserve = false;
    const waiting = desk.take(take(1));
    desk.fail('this node does not lead the shard any more');
    await expect(waiting).rejects.toThrow('does not lead');
    state.isOpen = false;
    await expect(desk.take(take(2))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is one whole command of its kind, or no request', () => {
    const command = take(1);
    const encode = (bytes: Uint8Array): Uint8Array =>
      encodeRequest({ kind: 'take-transfer', command: bytes });
    expect(decodeRequest(encode(command))).toEqual({ kind: 'take-transfer', command });
    const enqueue = stored((writer) => beginEnqueue(writer, [1 as QueueId]));
    for (const bad of [
      command.subarray(0, -1),
      new Uint8Array([...command, 0]),
      enqueue,
      new Uint8Array(0),
    ]) {
      expect(() => decodeRequest(encode(bad))).toThrow(CodecError);
    }
  });
});
