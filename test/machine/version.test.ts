import { describe, expect, it } from 'vitest';
import { MACHINE_VERSION, Meta, isVersionAllowed } from '../../src/machine/version.ts';

describe('the version of the machine', () => {
  it('never goes down, and never to one that this machine does not know', () => {
    expect(isVersionAllowed(MACHINE_VERSION, 1)).toBe(true);
    expect(isVersionAllowed(MACHINE_VERSION + 1, 1)).toBe(false);
    expect(isVersionAllowed(0, 1)).toBe(false);
    expect(isVersionAllowed(1.5, 1)).toBe(false);
    expect(isVersionAllowed(1, 2)).toBe(false);
  });

  it('a meta record of a newer version is not taken', () => {
    const data = new Meta().toData() as number[];
    expect(() => Meta.fromData([1, MACHINE_VERSION + 1, ...data.slice(2)])).toThrow(
      'newer version',
    );
    expect(() => Meta.fromData([1, 0, ...data.slice(2)])).toThrow('newer version');
    expect(() => Meta.fromData([9, ...data.slice(1)])).toThrow('unknown format');
  });

  it('the meta record comes back as it was', () => {
    const meta = new Meta();
    meta.nextQueueId = 70;
    meta.lastIndex = 9;
    meta.lastStamp = 1e12;
    meta.addDefinitionChunk(1);
    meta.addDefinitionChunk(0);
    expect(Meta.fromData(structuredClone(meta.toData())).toData()).toEqual(meta.toData());
    expect(meta.definitionChunks).toEqual([0, 1]);
    meta.removeDefinitionChunk(0);
    expect(meta.definitionChunks).toEqual([1]);
  });
});
