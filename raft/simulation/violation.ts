/** A check that does not hold: which, and in what way. It ends the run of the seed. */

export const CHECKS = [
  'election safety',
  'log matching',
  'leader completeness',
  'state-machine safety',
  'promised is durable',
  'commits by its own term',
  'goes by its configuration',
  'one change of members at a time',
  'committed is durable on a quorum',
  'committed is immutable',
  'cursors in order',
  'monotone term',
  'one vote a term',
  'monotone commit',
  'monotone applied',
  'promise kept over a crash',
  'applied once, in order',
  'confirmed is applied',
  'fresh reads',
  'replicas agree',
  'serves in part',
  'serves after healing',
  'loud halt',
  'no crash of the code',
] as const;
export type Check = (typeof CHECKS)[number];

export class Violation extends Error {
  readonly check: Check;

  constructor(check: Check, text: string, cause?: unknown) {
    super(`${check}: ${text}`, cause === undefined ? {} : { cause });
    this.name = 'Violation';
    this.check = check;
  }
}

export function violation(check: Check, text: string): never {
  throw new Violation(check, text);
}
