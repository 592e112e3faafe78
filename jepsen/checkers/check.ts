/** All checkers of the workload `queue`, in the order in which the report shows them. */

import type { Operation } from '../history/operation.ts';
import { checkDeadLetters } from './dead-letters.ts';
import { checkDeaths } from './deaths.ts';
import { checkDeliveryOrder } from './delivery-order.ts';
import { checkFaults } from './faults.ts';
import { checkLiveness } from './liveness.ts';
import { checkLogOrder } from './log-order.ts';
import { HistoryByQueue, checkEach } from './queues.ts';
import { checkSettled } from './settled.ts';
import { checkTotalQueue } from './total-queue.ts';
import type { Asked, Verdict } from './verdict.ts';
import { checkWriteGap } from './write-gap.ts';

export function checkQueue(history: readonly Operation[], asked: Asked): Verdict[] {
  const queues = new HistoryByQueue(history);
  return [
    checkEach(queues.sentTo, checkTotalQueue, asked),
    checkEach(queues.sentTo, checkLogOrder, asked),
    checkDeadLetters(queues, asked),
    checkEach(queues.all, checkDeliveryOrder, asked),
    checkEach(queues.all, checkSettled, asked),
    checkLiveness(history),
    checkDeaths(history),
    checkFaults(history, asked),
    checkWriteGap(history),
  ];
}
