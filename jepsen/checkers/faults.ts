/**
 * The faults of a history as intervals, and the checker that each kind that was asked for was
 * really installed, and healed again: a run whose faults never happened proves nothing.
 */

import { type FaultOperation, type Operation, isFault } from '../history/operation.ts';
import { type Asked, Findings, type Verdict } from './verdict.ts';

export interface Fault {
  readonly id: number;
  readonly kind: string;
  /** `leader` of `kill:leader`: the word before the colon of the detail. */
  readonly choice: string;
  readonly nodes: readonly string[];
  readonly detail: string;
  readonly from: number;
  /** When it was seen to be in force; undefined when it never was. */
  installed: number | undefined;
  /** When it was seen to be over; of one that was not, the end of the history. */
  to: number;
  healed: boolean;
  refused: string | undefined;
}

function step(fault: Fault, operation: FaultOperation): void {
  switch (operation.step) {
    case 'installed':
      fault.installed = operation.time;
      break;
    case 'healed':
      fault.to = operation.time;
      fault.healed = true;
      break;
    case 'refused':
      fault.refused = operation.detail;
      break;
    case 'install':
    case 'heal':
      break;
  }
}

export function faultsOf(history: readonly Operation[]): Fault[] {
  const faults = new Map<number, Fault>();
  const end = history.at(-1)?.time ?? 0;
  for (const operation of history) {
    if (!isFault(operation)) continue;
    const { fault: id, nodes, detail, time: from, f: kind } = operation;
    const known = faults.get(id);
    if (known !== undefined) step(known, operation);
    else {
      const fault: Fault = {
        id,
        kind,
        choice: detail.split(':')[0] ?? '',
        nodes,
        detail,
        from,
        installed: undefined,
        to: end,
        healed: false,
        refused: undefined,
      };
      step(fault, operation);
      faults.set(id, fault);
    }
  }
  return [...faults.values()];
}

/** `kill` is asked for by every kill, `kill:leader` by that choice alone. */
function isOf({ kind, choice }: Fault, asked: string): boolean {
  return asked === kind || asked === `${kind}:${choice}`;
}

export function checkFaults(history: readonly Operation[], { nemeses }: Asked): Verdict {
  const findings = new Findings();
  const faults = faultsOf(history);
  for (const fault of faults) {
    const name = `fault ${fault.id} (${fault.kind} ${fault.nodes.join()})`;
    if (fault.refused !== undefined) findings.add(fault.from, `${name} failed: ${fault.refused}`);
    else if (fault.installed === undefined) findings.add(fault.from, `${name} was not installed`);
    if (!fault.healed) findings.add(fault.to, `${name} was not healed`);
  }
  const installed: Record<string, number> = {};
  for (const asked of nemeses) {
    const done = faults.filter((each) => each.installed !== undefined && isOf(each, asked));
    installed[asked] = done.length;
    if (done.length === 0) findings.add(0, `${asked} was asked for and never installed`);
  }
  return findings.verdict('faults', installed);
}
