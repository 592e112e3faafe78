/** Why a process of ours ended: exit codes that scripts may rely on. docs/errors.md tells them. */

export const ExitCode = {
  ok: 0,
  /** A bug: an assertion or an exception that nobody expected. */
  unexpected: 1,
  /** A wrong option of the command line or a wrong configuration. */
  usage: 2,
  /** Another broker uses the data directory. */
  locked: 3,
  /** The data on the disk is damaged or of an unknown format: not started. */
  damaged: 4,
  /** A write or sync failed while the broker ran, or the disk cannot be used at all. */
  storage: 5,
  /** A listener could not be opened. */
  listener: 6,
  /** pub, sub: the broker cannot be reached, or the connection was lost. */
  connection: 7,
  /** pub, sub: the broker refused the connection, a message or a subscription. */
  refused: 8,
  /** pub, sub: the broker did not answer in time. */
  timeout: 9,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Told to the user as it is, without a stack; ends the process with its code. */
export class CliError extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}
