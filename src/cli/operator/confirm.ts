/** Asks before something that cannot be undone. Without a terminal nobody can be asked. */

import { createInterface } from 'node:readline/promises';
import { CliError, ExitCode } from '../exit-codes.ts';

export interface ConfirmFlags {
  readonly yes?: boolean;
}

/** Resolves when it may be done; `question` says what is lost. */
export async function confirm({ yes }: ConfirmFlags, question: string): Promise<void> {
  if (yes === true) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    const text = `${question}\nThere is no terminal to ask on: say --yes if it is meant.`;
    throw new CliError(ExitCode.usage, text);
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const closed = new Promise<string>((resolve) => {
      terminal.once('close', () => resolve(''));
    });
    // Ctrl-C is a no, like an end of the input.
    terminal.once('SIGINT', () => terminal.close());
    const answer = await Promise.race([terminal.question(`${question} [y/N] `), closed]);
    if (/^(y|yes)$/i.test(answer.trim())) return;
  } finally {
    terminal.close();
  }
  throw new CliError(ExitCode.refused, 'not confirmed: nothing was done');
}
