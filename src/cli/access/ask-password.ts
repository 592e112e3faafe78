/**
 * A password for `fluxmq user`: asked twice on a terminal, without showing it, or the first line of
 * standard input. Never an argument: those are seen by everybody on the machine.
 */

import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { PASSWORD_BYTES_MAX } from '../../access/verifier.ts';
import { CliError, ExitCode } from '../exit-codes.ts';

export async function askPassword(name: string): Promise<Uint8Array> {
  const { stdin } = process;
  const password = stdin.isTTY ? await askTwice(name) : await firstLine();
  const bytes = new TextEncoder().encode(password);
  if (bytes.length === 0) throw new CliError(ExitCode.usage, 'the password is empty');
  if (bytes.length > PASSWORD_BYTES_MAX) {
    throw new CliError(ExitCode.usage, `a password has at most ${PASSWORD_BYTES_MAX} bytes`);
  }
  return bytes;
}

async function askTwice(name: string): Promise<string> {
  const first = await ask(`Password of ${JSON.stringify(name)}: `);
  const second = await ask('The same again: ');
  if (first !== second) throw new CliError(ExitCode.usage, 'the two are not the same');
  return first;
}

function ask(question: string): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  return new Promise((resolve, reject) => {
    const over = new CliError(ExitCode.refused, 'no password: nothing was done');
    terminal.once('SIGINT', () => terminal.close());
    terminal.once('close', () => {
      process.stderr.write('\n');
      reject(over);
    });
    terminal.once('line', (line) => {
      resolve(line);
      terminal.close();
    });
  });
}

async function firstLine(): Promise<string> {
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) return line;
  return '';
}
