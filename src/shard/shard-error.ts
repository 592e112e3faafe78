/**
 * Why the shard did not answer a request. Expected outcomes of single messages are values and not
 * in here.
 */

export const SHARD_ERROR_CODES = [
  /** The shard failed, is closed, or its thread ended. */
  'unavailable',
  /** The shard understood the request and refused it; the message tells why. */
  'refused',
  /** A queue of this name is to be in another shard by now: where must be asked anew. */
  'elsewhere',
] as const;
export type ShardErrorCode = (typeof SHARD_ERROR_CODES)[number];

export class ShardError extends Error {
  readonly code: ShardErrorCode;

  constructor(code: ShardErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'ShardError';
    this.code = code;
  }
}
