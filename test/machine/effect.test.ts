import { describe, expect, it } from 'vitest';
import { EffectKind, Effects } from '../../src/machine/effect.ts';
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
});
