/** Where the replay of a subscription is, as plain data: [filter, run, next, end]. */

import { type RecordData, countOf, listOf, stringOf } from '../machine/record-data.ts';
import type { SessionReplay } from '../machine/session-command.ts';
import type { PlainData } from './record-codec.ts';

export function replayData({ filter, run, next, end }: SessionReplay): PlainData {
  return [filter, run, next, end];
}

/** The opposite; what does not fit is an assertion. */
export function replayOf(data: RecordData): SessionReplay {
  const [filter, run, next, end] = listOf(data);
  return { filter: stringOf(filter), run: countOf(run), next: countOf(next), end: countOf(end) };
}
