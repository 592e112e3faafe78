import { describe, expect, it } from 'vitest';
import { EffectKind, Effects } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { seen } from './machine-driver.ts';

describe('effects', () => {
  it('keep their order and their ordinals past every growth', () => {
    const effects = new Effects();
    for (let i = 0; i < 5_000; i += 1) {
      effects.ordinal = i;
      effects.addEnqueued(1, i, 10);
      effects.addConfirmed(
        { node: i % 2 === 0 ? 'a' : 'b', boot: 3, number: i, answeredUpTo: 0 },
        0,
      );
    }
    expect(effects.length).toBe(10_000);
    for (let i = 0; i < 5_000; i += 1) {
      if (effects.ordinalOf(2 * i) !== i || effects.offset(2 * i) !== i) expect(i).toBe('wrong');
      if (effects.node(2 * i + 1) !== (i % 2 === 0 ? 'a' : 'b')) expect(i).toBe('wrong');
    }
    expect(seen(effects, 9_999)).toEqual({
      kind: 'confirmed',
      node: 'b',
      boot: 3,
      number: 4_999,
      outcome: 'accepted',
    });
  });

  it('are gone after clear, and nothing beyond their length is read', () => {
    const effects = new Effects();
    effects.addRare({ kind: 'version-set', version: 1 });
    expect(effects.kind(0)).toBe(EffectKind.rare);
    effects.clear();
    expect(effects.length).toBe(0);
    expect(() => effects.kind(0)).toThrow(RangeError);
    effects.addRare({ kind: 'version-set', version: 2 });
    expect(effects.rare(0)).toEqual({ kind: 'version-set', version: 2 });
  });

  it('what was dropped of one queue, message by message, is one effect', () => {
    const effects = new Effects();
    const [a, b] = [1 as QueueId, 2 as QueueId];
    effects.addDropped(a, { from: 5, count: 1, why: 'drop-head' });
    effects.addEnqueued(1, 9, 1);
    effects.addDropped(a, { from: 6, count: 2, why: 'drop-head' });
    effects.addDropped(a, { from: 8, count: 1, why: 'expired' });
    effects.addDropped(b, { from: 0, count: 1, why: 'expired' });
    effects.addRare({ kind: 'version-set', version: 1 });
    effects.addDropped(b, { from: 1, count: 1, why: 'expired' });
    const dropped = Array.from({ length: effects.length }, (_, at) => seen(effects, at)).filter(
      ({ kind }) => kind === 'dropped',
    );
    expect(dropped).toEqual([
      { kind: 'dropped', queueId: a, from: 5, count: 3, why: 'drop-head' },
      { kind: 'dropped', queueId: a, from: 8, count: 1, why: 'expired' },
      { kind: 'dropped', queueId: b, from: 0, count: 2, why: 'expired' },
    ]);
    effects.clear();
    effects.addDropped(b, { from: 7, count: 1, why: 'expired' });
    expect(effects.rare(0)).toMatchObject({ from: 7, count: 1 });
  });
});
