/** A shard behind the start of the log: records, payloads by queue and range, then the log. */

import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '#raft';
import { decodeQuestion } from '../../src/shard/catch-up-codec.ts';
import { deliveredBy, isPayloads, leftBehind, numbered, publish } from '../support/left-behind.ts';

describe('a shard behind the start of the log', () => {
  it('has every message that is wanted afterwards, and serves them when it leads', async () => {
    const { cluster, leader, behind } = await leftBehind();
    await behind.start();
    await publish(cluster, leader, numbered(100, 300));
    await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
    expect(behind.stat('depth\0orders')).toBe(400);
    expect(await deliveredBy(cluster, behind, 400)).toEqual(numbered(400));
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('what is settled while it catches up is not delivered by it', async () => {
    const { cluster, leader, behind } = await leftBehind();
    let held: PeerMessage[] = [];
    cluster.passes = (message) => {
      const isHeld = message.kind === 'catchUpAsk' && isPayloads(message.question);
      if (isHeld) held.push(message);
      return !isHeld;
    };
    await behind.start();
    await cluster.until(() => held.length > 0);
    const { client, queueId } = leader;
    client.consume(1, queueId, 100);
    client.send();
    await cluster.until(() => client.deliveries.length === 100);
    for (const delivery of client.deliveries) client.settle(delivery, 'complete');
    client.closeConsumer(1, 'returned');
    client.send();
    await cluster.until(() => leader.node.stat('depth\0orders') === 200);
    cluster.passes = () => true;
    held = [];
    await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
    expect(await deliveredBy(cluster, behind, 200)).toEqual(numbered(200, 100));
    expect(behind.stat('bytes/runs') ?? 0).toBeLessThan(2_000_000);
  });

  it('goes on with another leader where the first has left off, at a later checkpoint', async () => {
    const { cluster, leader, behind } = await leftBehind();
    const asked = new Map<string, number>();
    let answers = 0;
    cluster.passes = (message) => {
      if (message.kind === 'catchUpAsk' && isPayloads(message.question)) {
        asked.set(message.to, (asked.get(message.to) ?? 0) + 1);
        return (asked.get(message.to) ?? 0) < 2 || message.to !== leader.node.id;
      }
      if (message.kind === 'catchUpAnswer') answers++;
      return true;
    };
    await behind.start();
    await cluster.until(() => (asked.get(leader.node.id) ?? 0) >= 2);
    expect(answers).toBeGreaterThan(0);
    leader.node.crash();
    await cluster.until(() => behind.replacements === 1);
    await leader.node.start();
    const now = await cluster.leader();
    await publish(cluster, now, numbered(50, 300));
    await cluster.until(() => behind.applied >= now.node.applied);
    expect(await deliveredBy(cluster, behind, 350)).toEqual(numbered(350));
  });

  it.each(['write', 'sync', 'rename'])(
    'asks again for what it had brought when a %s of it fails, and leaves no gap',
    async (operation) => {
      const { cluster, leader, behind } = await leftBehind();
      let answers = 0;
      // The first attempt breaks off in the middle, and puts away what it has.
      cluster.passes = (message) => {
        if (message.kind !== 'catchUpAnswer') return true;
        answers++;
        return answers < 3 || failed > 0;
      };
      let failed = 0;
      behind.files.before = (call) => {
        if (failed > 0 || answers < 2) return;
        if (call.operation !== operation || !call.path.startsWith('/runs-2/')) return;
        failed++;
        throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      };
      await behind.start();
      await cluster.until(() => answers >= 3);
      leader.node.crash();
      await cluster.until(() => failed > 0 || behind.replacements === 1);
      await leader.node.start();
      await cluster.until(() => behind.replacements === 1);
      const now = await cluster.leader();
      await cluster.until(() => behind.applied >= now.node.applied);
      expect(failed).toBe(1);
      expect(await deliveredBy(cluster, behind, 300)).toEqual(numbered(300));
    },
  );

  it('a crash in the middle leaves the old replica, and the next attempt succeeds', async () => {
    const { cluster, leader, behind } = await leftBehind();
    let passed = 0;
    cluster.passes = ({ kind }) => kind !== 'catchUpAnswer' || passed++ < 2;
    await behind.start();
    await cluster.until(() => passed > 2);
    behind.crash();
    cluster.passes = () => true;
    await behind.start();
    expect(behind.number).toBe(1);
    await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
    expect(await deliveredBy(cluster, behind, 300)).toEqual(numbered(300));
    behind.crash();
    await behind.start();
    expect(behind.number).toBe(2);
    const { node } = await cluster.leader();
    await cluster.until(() => behind.applied >= node.applied);
    expect(behind.stat('depth\0orders')).toBe(300);
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('goes in passes where the log cannot be held: what an earlier one has brought stays', async () => {
    const { cluster, leader, behind } = await leftBehind();
    cluster.heldBytesMax.transfers = 0;
    const asked: number[] = [];
    let passed = 0;
    let gone = 0;
    cluster.passes = (message) => {
      if (message.kind === 'catchUpEnd' && message.outcome === 'gone') gone++;
      if (message.kind === 'catchUpAsk' && isPayloads(message.question)) {
        const question = decodeQuestion(message.question);
        if (question.kind === 'payloads') asked.push(question.from);
      }
      return message.kind !== 'catchUpAnswer' || passed++ < 3;
    };
    await behind.start();
    await cluster.until(() => asked.length >= 2);
    const { start = 0 } = leader.node.log ?? {};
    await publish(cluster, leader, numbered(200, 300));
    await cluster.until(() => (leader.node.log?.start ?? 0) > start);
    expect(gone).toBe(1);
    cluster.passes = (message) => {
      if (message.kind !== 'catchUpAsk' || !isPayloads(message.question)) return true;
      const question = decodeQuestion(message.question);
      if (question.kind === 'payloads') asked.push(question.from);
      return true;
    };
    await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
    const lowest = Math.min(...asked);
    expect(asked.filter((from) => from === lowest)).toHaveLength(1);
    expect(await deliveredBy(cluster, behind, 500)).toEqual(numbered(500));
  });

  it.each([
    { current: Number.MAX_SAFE_INTEGER, replacements: 1 },
    { current: 0, replacements: 2 },
  ])('is held for longer when it has made a checkpoint current: $replacements', async (held) => {
    const { cluster, leader, behind } = await leftBehind();
    await behind.start();
    await cluster.until(() => behind.replacements === 1);
    cluster.heldBytesMax.transfers = 0;
    cluster.heldBytesMax.current = held.current;
    const { last } = leader.node.log ?? { last: 0 };
    cluster.isolate(behind.id);
    await publish(cluster, leader, numbered(100, 300));
    if (held.current === 0) await cluster.until(() => (leader.node.log?.start ?? 0) > last);
    cluster.heal();
    await cluster.until(() => behind.applied >= leader.node.applied);
    expect(behind.replacements).toBe(held.replacements);
    expect(await deliveredBy(cluster, behind, 400)).toEqual(numbered(400));
  });

  it('holds up no publishes, however long it takes and however many messages come', async () => {
    const { cluster, leader, behind } = await leftBehind({
      windowMessages: 40,
      windowBytes: 1 << 30,
    });
    let answers = 0;
    // It goes on, and is never over.
    cluster.passes = ({ kind }) => kind !== 'catchUpAnswer' || answers++ % 8 === 0;
    await behind.start();
    await cluster.until(() => answers >= 2);
    for (let at = 300; at < 500; at += 10) {
      await publish(cluster, leader, numbered(10, at));
      expect(leader.client.busy).toBe(false);
    }
    expect(behind.replacements).toBe(0);
    cluster.passes = () => true;
    await cluster.until(() => behind.replacements > 0 && behind.applied >= leader.node.applied);
    expect(await deliveredBy(cluster, behind, 500)).toEqual(numbered(500));
  });
});
