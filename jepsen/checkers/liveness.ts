/**
 * After the final heal everything works again, without anybody's help: a publish through each node
 * to each queue is acknowledged, and every queue can be drained. The harness tries for a bounded
 * time and writes `recovered` and `drained`; here is judged what it wrote.
 */

import type { Operation } from '../history/operation.ts';
import { Findings, type Verdict } from './verdict.ts';

const NS_PER_MS = 1e6;

export function checkLiveness(history: readonly Operation[]): Verdict {
  const findings = new Findings();
  let healedAt: number | undefined;
  let ended = false;
  let [probes, drained, recoveryMsMax] = [0, 0, 0];
  for (const operation of history) {
    const { time } = operation;
    if (operation.f === 'phase') {
      if (operation.value === 'heal') healedAt = time;
      ended ||= operation.value === 'end';
    } else if (operation.f === 'recovered') {
      probes += 1;
      const ms = (time - (healedAt ?? 0)) / NS_PER_MS;
      recoveryMsMax = Math.max(recoveryMsMax, Math.round(ms));
      const { value: node, queue } = operation;
      if (operation.type !== 'ok') findings.add(time, `${node} did not come back for ${queue}`);
    } else if (operation.f === 'drained') {
      if (operation.type === 'ok') drained += 1;
      else findings.add(time, `not drained: ${operation.value.join()} of ${operation.queue}`);
    }
  }
  if (healedAt === undefined) findings.add(0, 'the run ended before its final heal');
  else if (probes === 0) findings.add(healedAt, 'no node was asked after the final heal');
  if (drained === 0) findings.add(0, 'the queue was not drained');
  if (!ended) findings.add(0, 'the run did not come to its end');
  return findings.verdict('liveness', { probes, drained, recoveryMsMax });
}
