/**
 * Operational errors of the storage engine, with a closed set of codes.
 *
 * Expected outcomes (end of log, truncated reader) are values and not in here; broken invariants
 * are assertions. Every code stands in docs/errors.md, and a test holds both ways.
 */

export const STORAGE_ERROR_CODES = [
  'closed',
  'failed',
  'full',
  'damaged',
  'locked',
  'not-found',
  'out-of-range',
  'too-large',
  'unknown-format',
] as const;

export type StorageErrorCode = (typeof STORAGE_ERROR_CODES)[number];

export class StorageError extends Error {
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'StorageError';
    this.code = code;
  }
}
