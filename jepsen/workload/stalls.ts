/**
 * Watches whether the harness itself runs: while its event loop stood still, what arrived was
 * written down late. The history tells it, and the checkers allow for it.
 */

import type { Recorder } from '../history/recorder.ts';

const LOOK_MS = 100;
const STALL_MIN_MS = 500;

/** Returns what ends it. */
export function watchStalls(recorder: Recorder): () => void {
  let due = performance.now() + LOOK_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    const value = Math.round(now - due);
    if (value > STALL_MIN_MS) {
      recorder.add({ process: 'harness', f: 'stall', type: 'info', value });
    }
    due = now + LOOK_MS;
  }, LOOK_MS);
  return () => clearInterval(timer);
}
