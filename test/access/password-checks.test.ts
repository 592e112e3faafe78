/** Checks of passwords: bounded, in order, the same for whoever is not there. */

import { beforeAll, describe, expect, test, vi } from 'vitest';

import { PasswordChecks } from '../../src/access/password-checks.ts';
import type * as verifiers from '../../src/access/verifier.ts';
import { type Verifier, isRight, makeVerifier } from '../../src/access/verifier.ts';

vi.mock('../../src/access/verifier.ts', async (original) => {
  const real = await original<typeof verifiers>();
  return { ...real, isRight: vi.fn(real.isRight) };
});

let ann: Verifier;
beforeAll(async () => {
  ann = await makeVerifier(Buffer.from('right'), 10);
});

const LIMITS = { maxAtATime: 2, maxWaiting: 3, maxRemembered: 2 };

function claim(
  password: string,
  { user = 'ann', isGone = (): boolean => false } = {},
): Parameters<PasswordChecks['check']>[0] {
  return { user, password: Buffer.from(password), isGone };
}

describe('a check', () => {
  test('of the right password, a wrong one, an empty one, one that is too long', async () => {
    const checks = new PasswordChecks(LIMITS);
    expect(await checks.check(claim('right'), ann, [ann])).toBe('right');
    expect(await checks.check(claim('wrong'), ann, [ann])).toBe('wrong');
    expect(await checks.check(claim(''), ann, [ann])).toBe('wrong');
    expect(await checks.check(claim('x'.repeat(1025)), ann, [ann])).toBe('wrong');
  });

  test('for a user that is not there costs one computation, as a wrong password does', async () => {
    const checks = new PasswordChecks(LIMITS);
    vi.mocked(isRight).mockClear();
    expect(await checks.check(claim('wrong'), ann, [ann])).toBe('wrong');
    expect(await checks.check(claim('wrong', { user: 'nobody' }), undefined, [ann])).toBe('wrong');
    // The right password of the one that it was compared with lets nobody else in.
    expect(await checks.check(claim('right', { user: 'nobody' }), undefined, [ann])).toBe('wrong');
    expect(vi.mocked(isRight)).toHaveBeenCalledTimes(3);
    expect(await checks.check(claim('right', { user: 'nobody' }), undefined, [])).toBe('wrong');
  });

  test('of a password that was right is not made again, until it is another one', async () => {
    const checks = new PasswordChecks(LIMITS);
    await checks.check(claim('right'), ann, [ann]);
    vi.mocked(isRight).mockClear();
    expect(await checks.check(claim('right'), ann, [ann])).toBe('right');
    expect(vi.mocked(isRight)).not.toHaveBeenCalled();
    const changed = await makeVerifier(Buffer.from('other'), 10);
    expect(await checks.check(claim('right'), changed, [changed])).toBe('wrong');
    expect(await checks.check(claim('other'), changed, [changed])).toBe('right');
    for (const user of ['b', 'c']) await checks.check(claim('right', { user }), ann, [ann]);
    vi.mocked(isRight).mockClear();
    expect(await checks.check(claim('other'), changed, [changed])).toBe('right');
    expect(vi.mocked(isRight)).toHaveBeenCalledTimes(1);
  });
});

describe('a flood of checks', () => {
  test('so many at a time, so many wait, the rest is told that we are busy', async () => {
    const checks = new PasswordChecks(LIMITS);
    let running = 0;
    let most = 0;
    const endings: (() => void)[] = [];
    vi.mocked(isRight).mockImplementation(async () => {
      running++;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => endings.push(resolve));
      running--;
      return false;
    });
    const asked = Array.from({ length: 9 }, () => checks.check(claim('wrong'), ann, [ann]));
    expect(await Promise.all(asked.slice(5))).toEqual(['busy', 'busy', 'busy', 'busy']);
    expect(checks.waiting).toBe(3);
    for (let left = 5; left > 0; left--) {
      await vi.waitUntil(() => endings.length > 0);
      endings.shift()?.();
    }
    expect(await Promise.all(asked.slice(0, 5))).toEqual(Array(5).fill('wrong'));
    expect([most, running, checks.waiting]).toEqual([2, 0, 0]);
    vi.mocked(isRight).mockReset();
  });

  test('is not made for those who are gone, and what fails is no yes', async () => {
    const checks = new PasswordChecks({ ...LIMITS, maxAtATime: 1 });
    vi.mocked(isRight).mockRejectedValueOnce(new Error('no memory'));
    expect(await checks.check(claim('right'), ann, [ann])).toBe('busy');
    vi.mocked(isRight).mockClear();
    const gone = claim('right', { isGone: () => true });
    expect(await checks.check(gone, ann, [ann])).toBe('busy');
    expect(vi.mocked(isRight)).not.toHaveBeenCalled();
  });
});
