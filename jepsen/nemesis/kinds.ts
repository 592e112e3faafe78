/**
 * All kinds of faults, and the cards that a run asks for: `kill` is every choice of it that makes
 * sense with so many nodes, `kill:leader` that one alone.
 */

import type { FaultKind } from './fault-kind.ts';
import { kill } from './kill.ts';
import { partition } from './partition.ts';
import { pause } from './pause.ts';
import { wipe } from './wipe.ts';

export const FAULT_KINDS: readonly FaultKind[] = [kill, pause, partition, wipe];

export interface Card {
  readonly kind: FaultKind;
  readonly choice: string;
}

/** What was asked for cannot be had; the text says what, and what there is. */
export class NoSuchFault extends Error {}

function findKind(name: string): FaultKind {
  const found = FAULT_KINDS.find((kind) => kind.name === name);
  if (found !== undefined) return found;
  const all = FAULT_KINDS.map((kind) => kind.name).join(', ');
  throw new NoSuchFault(`no nemesis '${name}': there are ${all}`);
}

/** Of `kill` or `kill:leader`; throws when nothing of it makes sense in this cluster. */
export function cardsOf(asked: string, nodes: number, canCut: boolean): Card[] {
  const [name = '', choice] = asked.split(':');
  const kind = findKind(name);
  if (choice !== undefined && !kind.choices.includes(choice)) {
    throw new NoSuchFault(`no '${asked}': ${name} has ${kind.choices.join(', ')}`);
  }
  const choices = choice === undefined ? kind.choices : [choice];
  const fit = choices.filter((each) => kind.unfit(each, nodes, canCut) === undefined);
  if (fit.length > 0) return fit.map((each) => ({ kind, choice: each }));
  const why = kind.unfit(choices[0] ?? '', nodes, canCut) ?? '';
  throw new NoSuchFault(`'${asked}' is not possible here: ${why}`);
}
