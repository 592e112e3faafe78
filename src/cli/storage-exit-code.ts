/** Which exit code a start that the storage refused has. */

import { StorageError, type StorageErrorCode } from '#storage';
import { systemCode } from '../worker-talk.ts';
import { ExitCode } from './exit-codes.ts';

const CODES = {
  closed: ExitCode.storage,
  failed: ExitCode.storage,
  full: ExitCode.storage,
  damaged: ExitCode.damaged,
  locked: ExitCode.locked,
  'not-found': ExitCode.damaged,
  'out-of-range': ExitCode.storage,
  'too-large': ExitCode.storage,
  'unknown-format': ExitCode.damaged,
} satisfies Record<StorageErrorCode, ExitCode>;

/** Undefined when it is no error of the storage nor of the file system. */
export function storageExitCode(error: unknown): ExitCode | undefined {
  if (error instanceof StorageError) return CODES[error.code];
  // A folder that may not be written, a full disk, a file where a folder should be.
  const isSystemError = error instanceof Error && systemCode(error) !== undefined;
  return isSystemError ? ExitCode.storage : undefined;
}
