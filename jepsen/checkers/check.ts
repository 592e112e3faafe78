/** All checkers of the workload `queue`, in the order in which the report shows them. */

import type { Operation } from '../history/operation.ts';
import { checkDeaths } from './deaths.ts';
import { checkDeliveryOrder } from './delivery-order.ts';
import { checkFaults } from './faults.ts';
import { checkLiveness } from './liveness.ts';
import { checkLogOrder } from './log-order.ts';
import { checkSettled } from './settled.ts';
import { checkTotalQueue } from './total-queue.ts';
import type { Asked, Checker, Verdict } from './verdict.ts';
import { checkWriteGap } from './write-gap.ts';

const QUEUE_CHECKERS: readonly Checker[] = [
  checkTotalQueue,
  checkLogOrder,
  checkDeliveryOrder,
  checkSettled,
  checkLiveness,
  checkDeaths,
  checkFaults,
  checkWriteGap,
];

export function checkQueue(history: readonly Operation[], asked: Asked): Verdict[] {
  return QUEUE_CHECKERS.map((checker) => checker(history, asked));
}
