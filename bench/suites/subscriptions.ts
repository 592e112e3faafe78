/** A million subscriptions, of which a tenth have wildcards: see `subscriptions-main.ts`. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../report.ts';
import type { Subscribed } from './subscriptions-main.ts';
import { scaled, type Suite } from './suite.ts';

const MAIN = fileURLToPath(new URL('./subscriptions-main.js', import.meta.url));
const COUNT = 1_000_000;
const MOST_US = 50;
const MOST_BYTES = 200;

export const subscriptionsSuite: Suite = async (options) => {
  const rounds: Subscribed[] = [];
  const count = scaled(COUNT, options);
  for (let round = 0; round < options.rounds; round += 1) {
    const args = ['--expose-gc', MAIN, String(count)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const one = JSON.parse(stdout) as Subscribed;
    options.progress(
      `${one.count} subscriptions: ${Math.round(one.bytes)} B each, match p50 ` +
        `${one.p50Us.toFixed(1)} us, p99 ${one.p99Us.toFixed(1)} us ` +
        `(${one.matches.toFixed(2)} subscribers), a thousand more ` +
        `in ${one.longestAddMs.toFixed(1)} ms at most`,
    );
    rounds.push(one);
  }
  const what = `${count.toLocaleString('en-US')} subscriptions, a tenth with wildcards`;
  const bytes = median(rounds.map((each) => each.bytes));
  const p99 = median(rounds.map((each) => each.p99Us));
  return [
    {
      what: `${what}: match, p99`,
      ours: `${p99.toFixed(1)} us`,
      peer: `${MOST_US} us`,
      ratio: p99 / MOST_US,
      target: { at: 'most', ratio: 1 },
    },
    {
      what: `${what}: memory of each`,
      ours: `${Math.round(bytes)} B`,
      peer: `${MOST_BYTES} B`,
      ratio: bytes / MOST_BYTES,
      target: { at: 'most', ratio: 1 },
    },
  ];
};
