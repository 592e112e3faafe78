/** No broker ends by itself, whatever happens to the others; and each of them when it is asked. */

import type { Operation } from '../history/operation.ts';
import { Findings, type Verdict } from './verdict.ts';

export function checkDeaths(history: readonly Operation[]): Verdict {
  const findings = new Findings();
  for (const operation of history) {
    if (operation.f !== 'died') continue;
    const { value, error, time } = operation;
    findings.add(time, `${value}: ${error}; see nodes/${value}/broker.log`);
  }
  const stalls = history.filter(({ f }) => f === 'stall').length;
  const died = history.filter(({ f }) => f === 'died').length;
  return findings.verdict('processes', { died, harnessStalls: stalls });
}
