/**
 * Dead letters: what a group rejected comes to the queue of dead letters, once, in whichever shard
 * that queue is.
 *
 * - lost: rejected, the rejection acknowledged, and it never came there;
 * - unexpected: it came there, and nobody had rejected it;
 * - stored twice: it lies there at two offsets.
 */

import type { Enqueue, Operation, Reject } from '../history/operation.ts';
import { placesIn } from './log-order.ts';
import { type HistoryByQueue, joined } from './queues.ts';
import { checkTotalQueue } from './total-queue.ts';
import { type Asked, Findings, type Verdict } from './verdict.ts';

const NAME = 'dead-letters';

/**
 * A rejection as what sends its message on: the first attempt, then whether any of them is known to
 * have been heard. One that was refused may have followed one that was not.
 */
function sentBy(rejects: readonly Operation[]): Enqueue[] {
  const states = new Map<string, Enqueue['type']>();
  const sent: Enqueue[] = [];
  const add = ({ dead, value, ...rest }: Reject, type: Enqueue['type']): void => {
    states.set(value, type);
    const { index, time, process, node } = rest;
    sent.push({ index, time, process, node, f: 'enqueue', queue: dead, value, type });
  };
  for (const operation of rejects) {
    if (operation.f !== 'reject') continue;
    const state = states.get(operation.value);
    if (state === undefined) add(operation, 'invoke');
    else if (operation.type === 'ok' && state !== 'ok') add(operation, 'ok');
  }
  return sent;
}

function checkOne(own: readonly Operation[], rejects: readonly Operation[]): Verdict {
  const arrived = checkTotalQueue([...sentBy(rejects), ...own]);
  const findings = new Findings();
  const { storedTwice, conflicts } = placesIn(own, findings);
  const placed = findings.verdict(NAME, {});
  const { sent: rejected, acknowledged, lost, unexpected, corrupt } = arrived.figures;
  const figures = { rejected, acknowledged, lost, unexpected, corrupt, storedTwice, conflicts };
  return {
    checker: NAME,
    valid: arrived.valid && placed.valid,
    figures: figures as Record<string, number>,
    anomalies: [...arrived.anomalies, ...placed.anomalies],
    anomalyCount: arrived.anomalyCount + placed.anomalyCount,
  };
}

export function checkDeadLetters(histories: HistoryByQueue, { rejects }: Asked): Verdict {
  const verdicts = [...histories.dead].map(([name, own, sent]) => {
    return [name, checkOne(own, sent)] as const;
  });
  if (verdicts.length > 0) return joined(verdicts);
  const findings = new Findings();
  if (rejects === true) findings.add(0, 'nobody rejected anything');
  return findings.verdict(NAME, { rejected: 0 });
}
