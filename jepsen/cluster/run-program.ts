/** Runs a short program to its end; a failure is an error with what it said. */

import { execFile } from 'node:child_process';

const TIME_MAX_MS = 30_000;

export function runProgram(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { timeout: TIME_MAX_MS }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else {
        const said = stderr.trim() || error.message;
        reject(new Error(`${program} ${args.join(' ')}: ${said}`, { cause: error }));
      }
    });
  });
}
