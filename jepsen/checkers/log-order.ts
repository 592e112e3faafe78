/**
 * The queue as a log, seen through the offsets that deliveries tell:
 *
 * - a message that was sent once is stored once: two offsets are a duplicate;
 * - an offset has one message, in every group and on every node;
 * - the messages of one connection of a publisher lie in the order in which they were sent;
 * - what was sent after another one was acknowledged lies behind it (Herlihy and Wing's real-time
 *   order of appends): an acknowledged end of the log that was overwritten shows itself here.
 */

import type { Operation } from '../history/operation.ts';
import { Findings, type Verdict } from './verdict.ts';

interface Sweep {
  readonly offsets: ReadonlyMap<string, number>;
  readonly findings: Findings;
  /** What `invoke` had to lie behind. */
  acknowledged: number;
  behind: string;
  outOfTurn: number;
  readonly ends: Map<string, { readonly offset: number; readonly value: string }>;
}

interface Places {
  readonly offsets: ReadonlyMap<string, number>;
  readonly storedTwice: number;
  readonly conflicts: number;
}

/** One offset for each message, one message for each offset: true of any queue. */
export function placesIn(history: readonly Operation[], findings: Findings): Places {
  const offsets = new Map<string, number>();
  const values = new Map<number, string>();
  let [storedTwice, conflicts] = [0, 0];
  for (const operation of history) {
    if (operation.f !== 'dequeue' || operation.type !== 'ok' || operation.corrupt) continue;
    const { value, offset, time, group } = operation;
    const before = offsets.get(value);
    if (before === undefined) offsets.set(value, offset);
    else if (before !== offset) {
      storedTwice += 1;
      findings.add(time, `stored twice: ${value} lies at offsets ${before} and ${offset}`);
    }
    const other = values.get(offset);
    if (other === undefined) values.set(offset, value);
    else if (other !== value) {
      conflicts += 1;
      findings.add(time, `offset ${offset} has ${other}, and ${value} in group ${group}`);
    }
  }
  return { offsets, storedTwice, conflicts };
}

export function checkLogOrder(history: readonly Operation[]): Verdict {
  const findings = new Findings();
  const { offsets, storedTwice, conflicts } = placesIn(history, findings);
  const sweep: Sweep = {
    offsets,
    findings,
    acknowledged: -1,
    behind: '',
    outOfTurn: 0,
    ends: new Map(),
  };
  for (const operation of history) {
    if (operation.f === 'enqueue') look(sweep, operation);
  }
  return findings.verdict('log-order', {
    placed: offsets.size,
    storedTwice,
    conflicts,
    outOfTurn: sweep.outOfTurn,
  });
}

function look(sweep: Sweep, operation: Extract<Operation, { f: 'enqueue' }>): void {
  const { value, type, time } = operation;
  const offset = sweep.offsets.get(value);
  if (offset === undefined) return;
  if (type === 'ok' && offset > sweep.acknowledged) {
    sweep.acknowledged = offset;
    sweep.behind = value;
  }
  if (type !== 'invoke') return;
  if (offset <= sweep.acknowledged) {
    sweep.outOfTurn += 1;
    const was = `acknowledged before at offset ${sweep.acknowledged}`;
    sweep.findings.add(time, `${value} lies at offset ${offset}, and ${sweep.behind} was ${was}`);
  }
  const stream = value.slice(0, value.lastIndexOf('/'));
  const last = sweep.ends.get(stream);
  if (last !== undefined && offset <= last.offset) {
    sweep.outOfTurn += 1;
    const words = `${value} was sent after ${last.value} and lies at ${offset}`;
    sweep.findings.add(time, `${words}, before ${last.offset}`);
  }
  sweep.ends.set(stream, { offset, value });
}
