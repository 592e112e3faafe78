/**
 * Assertions of the core: on in production. A failed one is a bug of ours or of the host, never an
 * operational error; it must end the process, so nothing here or above catches it.
 */

class AssertionFailure extends Error {
  constructor(message: string) {
    super(`broken invariant of Raft: ${message}`);
    this.name = 'AssertionFailure';
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** A whole number from 0 to 2^53 - 1. */
export function assertCount(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new AssertionFailure(`${name} is ${value}, not a safe count`);
  }
}
