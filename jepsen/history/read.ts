/**
 * A stored history, read again: what the checkers and the report work on. A last line that was cut
 * off by the death of the harness is left out; damage anywhere else is an error with its line.
 */

import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Operation } from './operation.ts';
import { HISTORY_FILE } from './recorder.ts';

/** About 2 GiB of memory; a run that would need more is refused before it begins. */
export const OPERATIONS_MAX = 6_000_000;

export async function readHistory(directory: string): Promise<Operation[]> {
  const path = join(directory, HISTORY_FILE);
  const operations: Operation[] = [];
  let wrong = 0;
  const input = createReadStream(path);
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (wrong > 0) throw new Error(`${path}:${wrong} is no operation`);
    if (operations.length === OPERATIONS_MAX) {
      throw new Error(`${path} has more than ${OPERATIONS_MAX} operations`);
    }
    const operation = parsed(line);
    if (operation === undefined) wrong = operations.length + 1;
    else if (operation.index !== operations.length) {
      throw new Error(`${path}:${operations.length + 1} is not the operation that belongs there`);
    } else operations.push(operation);
  }
  return operations;
}

function parsed(line: string): Operation | undefined {
  try {
    return JSON.parse(line) as Operation;
  } catch {
    return undefined;
  }
}
