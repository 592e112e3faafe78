/** `Clock.every` for clocks that are turned by hand, over their `after`: nobody shares a timer. */

import type { Clock, Timer } from '../host/ports.ts';

export function repeated(clock: Pick<Clock, 'after'>, ms: number, action: () => void): Timer {
  let next: Timer;
  const wait = (): void => {
    next = clock.after(ms, () => {
      wait();
      action();
    });
  };
  wait();
  return { cancel: () => next.cancel() };
}
