/** Seeds in several processes: what comes of each is what one process would have had. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { ledgers } from '../../../raft/simulation/ledger.ts';
import { carryOut } from '../../../raft/simulation/seed-report.ts';
import type { SeedReport, SeedTask } from '../../../raft/simulation/seed-report.ts';
import { SeedProcesses } from '../../simulate/seed-processes.ts';

const SCRIPT = join(import.meta.dirname, '../../../dist/test/simulate/main.js');
const TASKS: readonly SeedTask[] = [1, 2, 3, 4, 5].map((seed) => ({
  seed,
  changes: { level: 'core', safetyUs: 200_000 },
  twice: seed === 3,
}));

async function all(processes: SeedProcesses): Promise<SeedReport[]> {
  const reports: SeedReport[] = [];
  for (;;) {
    const report = await processes.next();
    if (report === undefined) return reports.toSorted((one, other) => one.seed - other.seed);
    reports.push(report);
  }
}

describe('seeds in two processes', () => {
  it('come back each once, as from one process', async () => {
    const options = { script: SCRIPT, machine: 'ledger', jobs: 2 };
    const processes = new SeedProcesses({ ...options, tasks: TASKS.values() });
    try {
      const alone: SeedReport[] = [];
      for (const task of TASKS) alone.push(await carryOut(task, ledgers));
      expect(await all(processes)).toEqual(alone);
    } finally {
      processes.close();
    }
  });

  it('end with the seed whose process ended by itself', async () => {
    const options = { script: join(import.meta.dirname, 'nothing.js'), machine: 'ledger', jobs: 1 };
    const processes = new SeedProcesses({ ...options, tasks: TASKS.values() });
    await expect(all(processes)).rejects.toThrow('the process of seed 1 ended with 1');
    processes.close();
  });
});
