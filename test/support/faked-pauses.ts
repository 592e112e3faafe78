/**
 * `node:timers/promises` over the timers that a test has faked: those of the module itself go by
 * real time all the same, and would come after any number of steps. Whoever uses it puts it in the
 * place of that module.
 */

interface Options {
  readonly signal?: AbortSignal;
}

export const fakedPauses = {
  setTimeout: <Value>(ms: number, value: Value, { signal }: Options = {}): Promise<Value> => {
    return new Promise((resolve, reject) => {
      const ended = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve(value);
      };
      const timer = setTimeout(ended, ms);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      if (signal?.aborted === true) abort();
      else signal?.addEventListener('abort', abort, { once: true });
    });
  },
} as const;
