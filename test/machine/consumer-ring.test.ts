import { describe, expect, it } from 'vitest';
import { Consumer, ConsumerRing } from '../../src/machine/consumer-ring.ts';

function joined(ring: ConsumerRing, id: number, credit: number): Consumer {
  const consumer = new Consumer(id);
  consumer.credit = credit;
  ring.join(consumer);
  return consumer;
}

function served(ring: ConsumerRing, times: number): number[] {
  const ids: number[] = [];
  for (let i = 0; i < times && ring.first !== undefined; i += 1) {
    ids.push(ring.first.id);
    ring.serve(ring.first);
  }
  return ids;
}

describe('the ring of consumers', () => {
  it('Q21: serves each once before any twice, as long as credit lasts', () => {
    const ring = new ConsumerRing();
    joined(ring, 1, 3);
    joined(ring, 2, 1);
    joined(ring, 3, 2);
    expect(served(ring, 100)).toEqual([1, 2, 3, 1, 3, 1]);
    expect(ring.first).toBeUndefined();
  });

  it('takes none without credit, none that is closed, and none twice', () => {
    const ring = new ConsumerRing();
    const consumer = joined(ring, 1, 0);
    expect(ring.first).toBeUndefined();
    consumer.credit = 2;
    ring.join(consumer);
    ring.join(consumer);
    expect(served(ring, 3)).toEqual([1, 1]);
    consumer.credit = 1;
    consumer.isOpen = false;
    ring.join(consumer);
    expect(ring.first).toBeUndefined();
  });

  it('one leaves from the beginning, the middle or the end', () => {
    for (const leaver of [0, 1, 2]) {
      const ring = new ConsumerRing();
      const all = [1, 2, 3].map((id) => joined(ring, id, 2));
      ring.leave(all[leaver] as Consumer);
      ring.leave(all[leaver] as Consumer);
      const rest = [1, 2, 3].filter((_, i) => i !== leaver);
      expect(served(ring, 100)).toEqual([...rest, ...rest]);
    }
  });
});
