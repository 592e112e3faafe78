/**
 * Reads a stored run, lets every checker look at it, and writes what they say beside it:
 * `report.html`, `summary.txt` and `results.json`. The same run judged again says the same.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkQueue } from './checkers/check.ts';
import { readHistory } from './history/read.ts';
import { page } from './report/page.ts';
import { type Judged, isValid, summary } from './report/summary.ts';
import { RUN_FILE, type RunRecord } from './run.ts';

const NS_PER_S = 1e9;

export async function judge(directory: string): Promise<{ valid: boolean; text: string }> {
  const run = JSON.parse(await readFile(join(directory, RUN_FILE), 'utf8')) as RunRecord;
  const history = await readHistory(directory);
  const judged: Judged = {
    run,
    verdicts: checkQueue(history, run),
    operations: history.length,
    seconds: (history.at(-1)?.time ?? 0) / NS_PER_S,
  };
  const text = summary(judged);
  const valid = isValid(judged);
  await writeFile(join(directory, 'summary.txt'), text);
  await writeFile(join(directory, 'report.html'), page(history, judged));
  const results = { valid, ...judged };
  await writeFile(join(directory, 'results.json'), `${JSON.stringify(results, undefined, 2)}\n`);
  return { valid, text };
}
