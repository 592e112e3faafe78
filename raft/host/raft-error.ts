/**
 * Operational errors of a replica, with a closed set of codes. What a caller may expect (not the
 * leader, busy) is a value of the core and not in here; a broken invariant is an assertion. Every
 * code stands in docs/errors.md, and a test holds both ways.
 */

export const RAFT_ERROR_CODES = ['damaged', 'vote-lost'] as const;

export type RaftErrorCode = (typeof RAFT_ERROR_CODES)[number];

export class RaftError extends Error {
  readonly code: RaftErrorCode;

  constructor(code: RaftErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'RaftError';
    this.code = code;
  }
}
