/** Some seeds of the simulator on every change; hundreds of them are in `seeds.long.test.ts`. */

import { describe, expect, it } from 'vitest';

import { runSeed } from '../../../raft/simulation/run-seed.ts';
import { reproduction } from '../../../raft/simulation/shrink.ts';
import { changedPlan, planOf } from '../../../raft/simulation/swarm.ts';
import { Random } from '../../../raft/simulation/random.ts';
import { queues } from '../../simulate/queue-machine.ts';
import { allHold } from './seeds.ts';

/** Decides nothing: a bound for a machine that is busy with other things. */
const PATIENCE_MS = 600_000;

describe('a seed', { timeout: PATIENCE_MS }, () => {
  it('has one trace, and another seed has another', async () => {
    const [one, again, other] = [await runSeed(7), await runSeed(7), await runSeed(8)];
    expect(one.violation).toBeUndefined();
    expect(again.traceHash).toBe(one.traceHash);
    expect(again.events).toBe(one.events);
    expect(other.traceHash).not.toBe(one.traceHash);
  });

  it('leaves out what it is told to leave out, and says so in its reproduction', () => {
    const plan = planOf(new Random(5));
    const kind = plan.stepKinds[0] ?? 'pause';
    const changes = { without: [kind, 'loss'], safetyUs: 5000 };
    const changed = changedPlan(plan, changes);
    expect(changed.stepKinds).toEqual(plan.stepKinds.slice(1));
    expect(changed.links.loss).toBe(0);
    expect(changed.safetyUs).toBe(5000);
    expect(reproduction(5, changes)).toBe(
      `npm run simulate -- --seed 5 --without '${kind},loss' --safety-ms 5`,
    );
  });
});

describe('no check is violated', { timeout: PATIENCE_MS }, () => {
  it('where a bit of the last hard state went bad, which was taken for a power cut', async () => {
    await allHold(55_597, 1);
  });

  it('where a third peer needs a checkpoint, and no more than two get one: it comes to an end', async () => {
    await allHold(62_120, 1);
  });

  it('by the whole host over the storage engine', async () => {
    const counters = await allHold(1, 3);
    for (const seen of ['elections', 'confirmed', 'reads']) {
      expect(counters.get(seen), seen).toBeGreaterThan(0);
    }
  });

  it.each([
    ['a founder whose disk goes before the founding', 20_966],
    ['a vote that reached the disk before a crash, of which nobody was told', 23_469],
    ['an unreadable end that makes way for the entries of the leader', 23_707],
    ['a commit, and behind it in the same event other voters', 32_347],
    ['an entry that makes way for an earlier leader than the one that commits it', 34_055],
  ])('where the harness once saw one: %s', async (_, seed) => {
    await allHold(seed, 1);
  });

  it('by the core alone', async () => {
    await allHold(101, 3, { level: 'core' });
  });

  it('by the queues of the product on top', async () => {
    await allHold(201, 1, {}, queues);
    await allHold(301, 1, { level: 'core' }, queues);
  });
});
