/** A door through which one connection comes, at its start, that has no socket. */

import {
  type Door,
  type DoorKeeper,
  doorCounters,
  type Transport,
} from '../../src/protocol/transport.ts';

const nothing = (): void => undefined;

/** What is not said does nothing. */
export function transportOf(own: Partial<Transport>): Transport {
  return {
    remote: 'x',
    scheme: 'mqtt',
    identity: undefined,
    deadlineMs: Number.POSITIVE_INFINITY,
    waiting: 0,
    written: 0,
    attach: nothing,
    introduced: nothing,
    late: nothing,
    admitted: nothing,
    write: nothing,
    pause: nothing,
    resume: nothing,
    end: nothing,
    cut: nothing,
    ...own,
  };
}

export function doorOf(transport: Transport): Door {
  return {
    scheme: 'mqtt',
    key: 'x',
    place: { host: '', port: 0 },
    address: undefined,
    counters: doorCounters(),
    arriving: 0,
    open: ({ entered }: DoorKeeper) => Promise.resolve(entered(transport)),
    sweep: nothing,
    close: () => Promise.resolve(),
  };
}
