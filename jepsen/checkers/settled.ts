/**
 * The delivery contract: what was settled, and its settlement acknowledged, never comes again to
 * that group. A delivery that may have been under way when the acknowledgement came (two seconds,
 * more while a node was paused or cut off) is counted as late and no violation; a broker that
 * forgets settlements delivers much later than that.
 */

import type { Operation } from '../history/operation.ts';
import { Disturbances } from './disturbances.ts';
import { Findings, type Verdict } from './verdict.ts';

const GRACE_NS = 2_000_000_000;

export function checkSettled(history: readonly Operation[]): Verdict {
  const findings = new Findings();
  const disturbances = new Disturbances(history, GRACE_NS);
  const settled = new Map<string, number>();
  let [acknowledged, unknown, again, late] = [0, 0, 0, 0];
  for (const operation of history) {
    if (operation.f === 'ack' || operation.f === 'reject') {
      if (operation.type === 'info') unknown += 1;
      if (operation.type !== 'ok') continue;
      acknowledged += 1;
      const key = `${operation.group} ${operation.value}`;
      if (!settled.has(key)) settled.set(key, operation.time);
    }
    if (operation.f !== 'dequeue' || operation.type !== 'ok') continue;
    const { group, value, time, attempt, consumer } = operation;
    const since = settled.get(`${group} ${value}`);
    if (since === undefined) continue;
    if (time <= disturbances.arrivalMax(since)) {
      late += 1;
      continue;
    }
    again += 1;
    const seconds = ((time - since) / 1e9).toFixed(1);
    const whom = `to ${consumer} of group ${group} (attempt ${attempt})`;
    findings.add(time, `${value} came ${whom} ${seconds} s after its settlement was acknowledged`);
  }
  return findings.verdict('settled', { acknowledged, unknown, again, late });
}
