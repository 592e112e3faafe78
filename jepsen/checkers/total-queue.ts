/**
 * Jepsen's total-queue, for each group: what goes in comes out.
 *
 * - lost: acknowledged, and not delivered although the queue was drained;
 * - unexpected: delivered, and never sent, or refused for certain, or with a damaged payload;
 * - recovered: nobody knew whether it was stored, and it was delivered;
 * - redelivered: deliveries beyond the first, which at-least-once allows.
 */

import type { Enqueue, Operation } from '../history/operation.ts';
import { Findings, type Verdict } from './verdict.ts';

interface Sent {
  readonly at: number;
  state: Enqueue['type'];
}

interface Group {
  readonly delivered: Map<string, number>;
}

function sentOf(history: readonly Operation[]): Map<string, Sent> {
  const sent = new Map<string, Sent>();
  for (const operation of history) {
    if (operation.f !== 'enqueue') continue;
    const known = sent.get(operation.value);
    if (known === undefined) sent.set(operation.value, { at: operation.time, state: 'invoke' });
    else known.state = operation.type;
  }
  return sent;
}

export function checkTotalQueue(history: readonly Operation[]): Verdict {
  const findings = new Findings();
  const sent = sentOf(history);
  const groups = new Map<string, Group>();
  let [unexpected, corrupt, redelivered] = [0, 0, 0];
  let drained: readonly string[] = [];
  for (const operation of history) {
    if (operation.f === 'attach' && !groups.has(operation.group)) {
      groups.set(operation.group, { delivered: new Map() });
    }
    if (operation.f === 'drained' && operation.type === 'ok') drained = operation.value;
    if (operation.f !== 'dequeue' || operation.type !== 'ok') continue;
    const { value, group, time, offset } = operation;
    const where = `${value} in group ${group} at offset ${offset}`;
    if (operation.corrupt === true) {
      corrupt += 1;
      findings.add(time, `damaged payload: ${where}`);
      continue;
    }
    const state = sent.get(value)?.state;
    if (state === undefined || state === 'fail') {
      unexpected += 1;
      findings.add(time, `unexpected: ${where} was ${state ? 'refused' : 'never sent'}`);
    }
    const delivered = groups.get(group)?.delivered ?? new Map<string, number>();
    groups.set(group, { delivered });
    const times = delivered.get(value) ?? 0;
    if (times > 0) redelivered += 1;
    delivered.set(value, times + 1);
  }
  const ends = { lost: 0, recovered: 0 };
  for (const [name, group] of groups) {
    if (!drained.includes(name)) findings.add(0, `group ${name} was not drained to its end`);
    lookFor(sent, { name, group, findings, ends });
  }
  if (groups.size === 0) findings.add(0, 'nobody consumed');
  const states = [...sent.values()].map(({ state }) => state);
  return findings.verdict('total-queue', {
    sent: sent.size,
    acknowledged: states.filter((state) => state === 'ok').length,
    unknown: states.filter((state) => state === 'info' || state === 'invoke').length,
    refused: states.filter((state) => state === 'fail').length,
    ...ends,
    unexpected,
    corrupt,
    redelivered,
  });
}

interface Look {
  readonly name: string;
  readonly group: Group;
  readonly findings: Findings;
  readonly ends: { lost: number; recovered: number };
}

function lookFor(sent: ReadonlyMap<string, Sent>, { name, group, findings, ends }: Look): void {
  for (const [value, { state, at }] of sent) {
    const came = group.delivered.has(value);
    if (state === 'ok' && !came) {
      ends.lost += 1;
      findings.add(at, `lost: ${value} was acknowledged and never came to group ${name}`);
    }
    if (came && (state === 'info' || state === 'invoke')) ends.recovered += 1;
  }
}
