/**
 * Broken invariants of the machine. They are bugs (or a record store that lied), never an expected
 * outcome: who catches one ends the process, because the state can no longer be trusted.
 *
 * The message is a constant at each call: nothing is formatted on the hot path.
 */

export class MachineFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MachineFault';
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new MachineFault(message);
}

export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
