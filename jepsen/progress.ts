/** How a run goes: a line that renews itself on a terminal, else a line now and then. */

import type { Progress } from './run.ts';

const TERMINAL_MS = 1_000;
const LOG_MS = 10_000;

function words(now: Progress, minutes: number): string {
  const whole = `${Math.round(now.seconds)}/${Math.round(minutes * 60)} s`;
  return [
    whole,
    `${now.acknowledged} acknowledged, ${now.unknown} unknown`,
    `${now.delivered} delivered, ${now.settled} settled, ${now.behind} behind`,
    `${now.faults} faults`,
    now.doing,
  ].join(' | ');
}

/** Returns what ends it. */
export function showProgress(minutes: number, now: () => Progress): () => void {
  const terminal = process.stdout.isTTY;
  const show = (): void => {
    const text = words(now(), minutes);
    const width = process.stdout.columns ?? 120;
    process.stdout.write(terminal ? `\r\u001B[K${text.slice(0, width - 1)}` : `${text}\n`);
  };
  const timer = setInterval(show, terminal ? TERMINAL_MS : LOG_MS);
  return () => {
    clearInterval(timer);
    show();
    if (terminal) process.stdout.write('\n');
  };
}
