/** What was asked for without an answer, until it is known to be applied. */

import { describe, expect, it } from 'vitest';
import { Unworked } from '../../src/shard/unworked.ts';

describe('what is asked for without an answer', () => {
  it('goes when its batch is worked off, and not before', () => {
    const unworked = new Unworked<string>();
    unworked.add('a');
    unworked.add('b');
    unworked.posted(1);
    unworked.add('c');
    expect(unworked.worked(1)).toEqual(['a', 'b']);
    expect(unworked.worked(5)).toEqual([]);
    unworked.posted(6);
    expect(unworked.worked(5)).toEqual([]);
    expect(unworked.worked(6)).toEqual(['c']);
  });

  it('is all there for the next leader, in order, posted or not', () => {
    const unworked = new Unworked<string>();
    unworked.add('a');
    unworked.posted(3);
    unworked.add('b');
    expect(unworked.takeAll()).toEqual(['a', 'b']);
    expect(unworked.worked(3)).toEqual([]);
    unworked.add('c');
    unworked.posted(1);
    expect(unworked.worked(1)).toEqual(['c']);
  });
});
