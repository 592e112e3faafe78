/**
 * The way of a client to whoever leads: one session after the other, and nothing of an earlier one
 * in a later one.
 */

import { describe, expect, it } from 'vitest';
import { LOCAL_SESSION } from '../../src/shard/client-route.ts';
import {
  CLIENT_BATCH_HEADER_BYTES,
  writeClientBatchHeader,
  writeRequest,
} from '../../src/shard/client-frames.ts';
import { type Lead, LeaderRoute } from '../../src/shard/leader-route.ts';
import { readLinkFrame } from '../../src/shard/link-frames.ts';
import { LinkQueue } from '../../src/shard/link-queue.ts';
import type { BatchPort } from '../../src/shard/port.ts';
import { loopback } from '../../src/shard/port.ts';
import { encodeRecord } from '../../src/shard/record-codec.ts';
import { encodeRequest } from '../../src/shard/requests.ts';
import { ShardBatch } from '../../src/shard/shard-frames.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { turn } from '../support/shard-world.ts';

function batch(session: number, write?: (writer: WireWriter) => void): Uint8Array {
  const writer = new WireWriter(256);
  writer.reserve(CLIENT_BATCH_HEADER_BYTES);
  write?.(writer);
  const bytes = writer.take();
  writeClientBatchHeader(bytes, {
    boot: 0,
    firstNumber: 0,
    answeredUpTo: 0,
    takenBytes: 0,
    commands: 0,
    commandBytes: 0,
    session,
  });
  return bytes;
}

class World {
  readonly client: BatchPort;
  readonly route: LeaderRoute;
  readonly heard: string[] = [];
  /** Sessions here, and what each was told. */
  readonly served: { port: BatchPort; batches: number; isOver: boolean }[] = [];
  readonly sent: string[] = [];
  serves = true;
  room = true;
  readonly links = new Map<string, LinkQueue>();
  timers: (() => void)[] = [];
  /** Whom the node asks where it only guesses. */
  instead: (node: string, leader: string) => string | undefined = () => undefined;

  constructor() {
    const [near, far] = loopback();
    this.client = near;
    near.onBatch((bytes) => this.#hear(bytes));
    this.route = new LeaderRoute({
      node: 'a',
      port: far,
      serve: (port) => this.#serve(port),
      link: (node) => this.links.get(node),
      answer: ({ kind }) => Promise.resolve(encodeRecord([kind])),
      instead: (node, leader) => this.instead(node, leader),
      after: (_ms, action) => {
        this.timers.push(action);
        return { cancel: () => void this.timers.splice(this.timers.indexOf(action), 1) };
      },
    });
  }

  link(node: string): LinkQueue {
    const send = (_shard: number, parts: readonly Uint8Array[]): boolean => {
      if (!this.room) return false;
      const { kind, session } = readLinkFrame(Buffer.concat(parts));
      this.sent.push(`${node} ${['', 'begin', 'batch', 'end'][kind] ?? ''} ${session}`);
      return true;
    };
    const queue = new LinkQueue({ node, send }, 0);
    this.links.set(node, queue);
    return queue;
  }

  async leads(lead: Lead): Promise<void> {
    this.route.leads(lead);
    await this.quiet();
  }

  async quiet(): Promise<void> {
    for (let turns = 0; turns < 5; turns++) await turn();
  }

  #serve(port: BatchPort): boolean {
    if (!this.serves) return false;
    const served = { port, batches: 0, isOver: false };
    port.onBatch(() => void served.batches++);
    port.onClosed(() => {
      served.isOver = true;
    });
    this.served.push(served);
    return true;
  }

  #hear(bytes: Uint8Array): void {
    const frames = new ShardBatch(bytes);
    for (let frame = frames.next(); frame !== undefined; frame = frames.next()) {
      if (frame.kind === 'session') this.heard.push(`session ${frame.session} ${frame.leader}`);
      else if (frame.kind === 'reply') this.heard.push(`reply ${frame.id}`);
      else this.heard.push(frame.kind);
    }
  }
}

describe('a route to the leader', () => {
  it('goes to this node while it leads, and ends before the next one begins', async () => {
    const world = new World();
    world.link('b');
    await world.leads({ kind: 'here' });
    world.client.post(batch(1));
    await world.quiet();
    expect(world.served[0]).toMatchObject({ batches: 1, isOver: false });
    await world.leads({ kind: 'nobody' });
    await world.leads({ kind: 'there', node: 'b' });
    expect(world.served[0]?.isOver).toBe(true);
    expect(world.heard).toEqual(['session 1 a', 'session 0 ', 'session 2 b']);
    expect(world.sent).toEqual(['b begin 2']);
  });

  it('drops batches of a session that is over, here and there', async () => {
    const world = new World();
    world.link('b');
    await world.leads({ kind: 'here' });
    await world.leads({ kind: 'there', node: 'b' });
    world.client.post(batch(1));
    world.client.post(batch(2));
    world.client.post(batch(7));
    await world.quiet();
    expect(world.served[0]?.batches).toBe(0);
    expect(world.sent).toEqual(['b begin 2', 'b batch 2']);
    world.route.said(1, batch(0));
    await world.quiet();
    expect(world.heard.at(-1)).toBe('session 2 b');
  });

  it('waits for a link, and begins anew with each one', async () => {
    const world = new World();
    await world.leads({ kind: 'there', node: 'b' });
    expect(world.heard).toEqual(['session 0 b']);
    world.link('b');
    world.route.linked('b');
    world.links.delete('b');
    world.route.unlinked('b');
    world.link('b');
    world.route.linked('b');
    await world.quiet();
    expect(world.heard.slice(1)).toEqual(['session 1 b', 'session 0 b', 'session 2 b']);
  });

  it('asks a node again that does not serve yet', async () => {
    const world = new World();
    world.link('b');
    await world.leads({ kind: 'there', node: 'b' });
    world.route.refused(1, '');
    await world.quiet();
    expect(world.heard.at(-1)).toBe('session 0 b');
    world.timers.shift()?.();
    await world.quiet();
    expect(world.heard.at(-1)).toBe('session 2 b');
    world.route.refused(1, '');
    await world.quiet();
    expect(world.heard.at(-1)).toBe('session 2 b');
  });

  it('asks at once again when the lead was confirmed behind the question, and then waits', async () => {
    const world = new World();
    world.link('b');
    await world.leads({ kind: 'there', node: 'b' });
    await world.leads({ kind: 'there', node: 'b' });
    world.route.refused(1, '');
    await world.quiet();
    expect(world.sent).toEqual(['b begin 1', 'b begin 2']);
    world.route.refused(2, '');
    await world.quiet();
    expect(world.sent).toHaveLength(2);
    expect(world.timers).toHaveLength(1);
  });

  it('follows the node that a refusal names at once, and two that name each other in time', async () => {
    const world = new World();
    world.instead = (_node, leader) => leader;
    for (const node of ['b', 'c']) world.link(node);
    await world.leads({ kind: 'there', node: 'b' });
    world.route.refused(1, 'c');
    await world.quiet();
    expect(world.sent).toEqual(['b begin 1', 'c begin 2']);
    world.route.refused(2, 'b');
    await world.quiet();
    expect(world.sent).toHaveLength(2);
    world.timers.shift()?.();
    world.route.refused(3, 'c');
    await world.quiet();
    expect(world.sent).toEqual(['b begin 1', 'c begin 2', 'b begin 3', 'c begin 4']);
  });

  it('asks its own shard again that says it leads and does not serve yet', async () => {
    const world = new World();
    world.serves = false;
    await world.leads({ kind: 'here' });
    expect(world.heard).toEqual(['session 0 a']);
    world.serves = true;
    world.timers.shift()?.();
    await world.quiet();
    expect(world.heard.at(-1)).toBe('session 2 a');
  });

  it('keeps the order of what a link refuses, and sends it when there is room', async () => {
    const world = new World();
    const queue = world.link('b');
    await world.leads({ kind: 'there', node: 'b' });
    world.room = false;
    world.client.post(batch(1));
    world.client.post(batch(1));
    await world.quiet();
    expect(queue.waitingBytes).toBe(2 * CLIENT_BATCH_HEADER_BYTES);
    world.room = true;
    queue.room();
    expect(world.sent).toEqual(['b begin 1', 'b batch 1', 'b batch 1']);
  });

  it('answers what is asked of this node alone, whoever leads', async () => {
    const world = new World();
    const request = batch(LOCAL_SESSION, (writer) =>
      writeRequest(writer, 2, encodeRequest({ kind: 'stats' })),
    );
    world.client.post(request);
    await world.quiet();
    expect(world.heard).toEqual(['reply 2']);
  });

  it('who only guesses goes on to another node, or to the one that is named', async () => {
    const world = new World();
    world.instead = (node, leader) => (leader === '' ? (node === 'b' ? 'c' : 'b') : leader);
    for (const node of ['b', 'c', 'd']) world.link(node);
    await world.leads({ kind: 'there', node: 'b' });
    const again = async (): Promise<void> => {
      world.timers.shift()?.();
      await world.quiet();
    };
    world.route.refused(1, '');
    await again();
    world.route.refused(2, 'd');
    await again();
    expect(world.sent).toEqual(['b begin 1', 'c begin 2', 'd begin 3']);
    // Its link is gone, and that of the next one not there either.
    world.links.delete('d');
    world.links.delete('b');
    world.route.unlinked('d');
    await again();
    await again();
    expect(world.sent.at(-1)).toBe('c begin 4');
  });
});
