/**
 * Which records of a shard's store tell where its payloads lie on this node, and so mean nothing on
 * any other: locations in the log, runs, the window of the log. All others are the machine's.
 */

import { LOCATION_PREFIX, SUMMARY_PREFIX } from './location-chunks.ts';
import { WINDOW_KEY } from './log-window.ts';
import { RUN_PREFIX } from './run-records.ts';

export function isLayoutKey(key: string): boolean {
  return (
    key === WINDOW_KEY ||
    key.startsWith(RUN_PREFIX) ||
    key.startsWith(LOCATION_PREFIX) ||
    key.startsWith(SUMMARY_PREFIX)
  );
}
