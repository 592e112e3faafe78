import { describe, expect, it } from 'vitest';
import { Lives } from '../src/lives.ts';

interface Life {
  readonly name: string;
}

function world() {
  const failures: string[] = [];
  const first: Life = { name: 'first' };
  const lives = new Lives<Life>(first, ({ message }) => void failures.push(message));
  let opened = 1;
  /** As a replica is opened anew: something is awaited, and then the next one is there. */
  const reopen = async (): Promise<void> => {
    await Promise.resolve();
    opened += 1;
    lives.begin({ name: `number ${opened}` });
  };
  return { lives, first, failures, reopen, count: () => opened };
}

describe('the lives of a replica', () => {
  it('are ended once each, whatever the reasons of one turn', async () => {
    const { lives, first, reopen, count } = world();
    const stranger = lives.endWith(first, reopen);
    const renewed = lives.endWith(first, reopen);
    await renewed;
    expect(count()).toBe(2);
    await stranger;
    await lives.endWith(first, reopen);
    expect([count(), lives.current.name]).toEqual([2, 'number 2']);
    await lives.endWith(lives.current, reopen);
    expect(lives.current.name).toBe('number 3');
  });

  it('a reason that comes second waits for what the first one began', async () => {
    const { lives, first, reopen, count } = world();
    void lives.endWith(first, reopen);
    expect(lives.end(first)).toBe(false);
    await lives.stop();
    expect(count()).toBe(2);
  });

  it('none ends behind a stop', async () => {
    const { lives, first, reopen, count } = world();
    await lives.stop();
    await lives.endWith(first, reopen);
    expect(count()).toBe(1);
  });

  it('what cannot be opened anew is told', async () => {
    const { lives, first, failures } = world();
    await lives.endWith(first, () => Promise.reject(new Error('the disk is gone')));
    expect(failures).toEqual(['the disk is gone']);
  });
});
