/**
 * While a simulation runs, whatever would bring the real time or real chance into it throws: a
 * seed would not be a reproduction any more. The kernel holds its own turn of the event loop.
 */

const NAMES = ['setTimeout', 'setInterval', 'setImmediate'] as const;

/** Runs the simulation, with real timers, clocks and randomness out of reach. */
export async function withoutRealTime<Result>(run: () => Promise<Result>): Promise<Result> {
  const restore = forbid();
  try {
    return await run();
  } finally {
    restore();
  }
}

function forbid(): () => void {
  const undo: (() => void)[] = [];
  for (const name of NAMES) undo.push(replace(globalThis, name));
  undo.push(replace(Date, 'now'), replace(Math, 'random'), replace(performance, 'now'));
  return () => {
    for (const one of undo) one();
  };
}

function replace<Owner extends object>(owner: Owner, name: keyof Owner & string): () => void {
  const real = owner[name];
  const refuse = (): never => {
    throw new Error(`${name} inside of a simulation: use the clock and the seed of its kernel`);
  };
  Object.defineProperty(owner, name, { value: refuse, configurable: true, writable: true });
  return () => {
    Object.defineProperty(owner, name, { value: real, configurable: true, writable: true });
  };
}
