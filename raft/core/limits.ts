/** Every limit of the core, with its default (docs: raft.md "Defaults"; a tick is 10 ms there). */

import { assert } from './assert.ts';
import type { Limits } from './options.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

export const LIMITS: Limits = {
  heartbeatTicks: 10,
  electionTicks: 50,
  diskStallTicks: 200,
  windowMessages: 256,
  windowBytes: 4 * MIB,
  messageBytes: MIB,
  entryBytes: 65 * MIB,
  uncommittedBytes: 64 * MIB,
  tailBytes: 16 * MIB,
  applyBytes: 8 * MIB,
  pendingReads: 10_000,
  balanceTicks: 1000,
};

export function limitsOf(given: Partial<Limits> | undefined): Limits {
  const limits = { ...LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) {
    assert(Number.isSafeInteger(value) && value >= 1, `${name} is a count of at least 1`);
  }
  assert(limits.electionTicks > limits.heartbeatTicks, 'elections wait for longer than heartbeats');
  return limits;
}
