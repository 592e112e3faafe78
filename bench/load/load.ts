/** Runs one job of the load generator in a process of its own and hands back its result. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadJob } from './main.ts';
import type { RunResult } from './mqtt.ts';

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));

export function runLoad(job: LoadJob): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // By its standard input: ten thousand topics are too long for a command line.
    child.stdin.end(JSON.stringify(job));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as RunResult);
      else reject(new Error(`the load generator ended with ${String(code)}`));
    });
  });
}
