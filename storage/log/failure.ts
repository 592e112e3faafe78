/**
 * Errors of the platform on their way to callers, who see StorageError only; bugs stay what they
 * are.
 */

import { AssertionFailure } from '../assert.ts';
import { StorageError } from '../errors.ts';

export function asStorageError(error: unknown, what: string): Error {
  if (error instanceof StorageError || error instanceof AssertionFailure) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageError('failed', `${what}: ${reason}`, { cause: error });
}

export function closedError(): StorageError {
  return new StorageError('closed', 'the log is closed');
}
