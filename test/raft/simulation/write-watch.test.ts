/** What the checks are told of a stream of writes, and what the closing table says of faults. */

import { describe, expect, it } from 'vitest';

import type { Entry } from '../../../raft/raft.ts';
import { closingTable, neverInstalled } from '../../../raft/simulation/closing-table.ts';
import { Counters } from '../../../raft/simulation/counters.ts';
import { SafetyChecks } from '../../../raft/simulation/safety-checks.ts';
import { STEP_KINDS } from '../../../raft/simulation/swarm.ts';
import { WriteWatch } from '../../../raft/simulation/write-watch.ts';

const NODE = 'a';

function entry(index: number, term: number): Entry {
  const payload = new Uint8Array([index, term]);
  return { index, term, kind: 'commands', payload, configuration: undefined, local: undefined };
}

function write(token: number, entries: readonly Entry[], truncateAfter?: number) {
  const hardState = { term: entries.at(-1)?.term ?? 0, vote: undefined };
  return { token, hardState, truncateAfter, entries };
}

describe('a watched stream of writes', () => {
  const watched = () => {
    const checks = new SafetyChecks();
    return { checks, watch: new WriteWatch(NODE, checks), log: checks.logOf(NODE) };
  };

  it('makes durable what a token stands for, and all before it', () => {
    const { watch, log } = watched();
    watch.wrote(write(1, [entry(1, 1)]));
    watch.wrote(write(2, [entry(2, 1)]));
    watch.wrote(write(3, [entry(3, 1)]));
    expect(log.durable).toBe(0);
    watch.persisted(2);
    expect(log.durable).toBe(2);
  });

  it('a late completion says nothing of what took the place of its entries', () => {
    const { watch, log } = watched();
    watch.wrote(write(1, [entry(1, 1), entry(2, 1), entry(3, 1)]));
    watch.wrote(write(2, [entry(2, 2), entry(3, 2)], 1));
    watch.persisted(1);
    expect(log.durable).toBe(1);
    watch.persisted(2);
    expect(log.durable).toBe(3);
  });

  it('holds a term that is written behind its entries for a violation', () => {
    const { watch } = watched();
    const late = { ...write(1, [entry(1, 4)]), hardState: undefined };
    expect(() => watch.wrote(late)).toThrow(/in front of that term/);
  });
});

describe('the closing table', () => {
  const [first, second] = STEP_KINDS;
  const totals = (seeds: number) => {
    const counters = new Counters();
    counters.add(`requested: ${first}`, seeds);
    counters.add(`requested: ${second}`, seeds);
    counters.add(`installed: ${second}`, 3);
    return { seeds, violations: 0, simulatedUs: 3_600_000_000, events: 1, counters };
  };

  it('names a fault that was asked for and never installed', () => {
    expect(neverInstalled(totals(100))).toEqual([first]);
    expect(closingTable(totals(100))).toContain(`never installed: ${first}`);
  });

  it('does not judge by a handful of seeds', () => {
    expect(neverInstalled(totals(3))).toEqual([]);
  });
});
