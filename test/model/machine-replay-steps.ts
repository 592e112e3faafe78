/** Retained messages on their way to a session, in their turn and out of it. */

import { fc } from '../support/properties.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { NODES, placeOf } from './machine-commands.ts';
import { BYTES } from './machine-model-queue.ts';
import { CommandStep } from './machine-runner.ts';

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const node = fc.constantFrom(...NODES);

/** A step of what a session owes of retained messages, mostly; or of none. */
export const replayed = fc
  .record({
    node,
    pick: unit,
    back: fc.constantFrom(0, 0, 0, 0, 1),
    from: fc.integer({ min: -2, max: 1 }),
    at: fc.integer({ min: -1, max: 3 }),
    more: fc.nat({ max: 2 }),
    room: fc.constantFrom(1, 4, 1_000),
    ttlMs: fc.constantFrom(0, 0, 500),
  })
  .map(
    (r) =>
      new CommandStep(`replayed ${JSON.stringify(r)}`, (model) => {
        const all = model.mqttSessions.owed();
        const owed = all[Math.floor(r.pick * all.length)];
        const next = owed?.replay.next ?? 0;
        const replay = {
          ownerEpoch: Math.max(0, (owed?.epoch ?? 1) - r.back),
          run: owed?.replay.run ?? 1,
          from: Math.max(0, next + r.from),
          at: Math.max(0, next + r.at),
          next: Math.max(0, next + r.at) + r.more,
          room: r.room,
        };
        const plain = { priority: 0, delayMs: 0, producer: undefined, key: undefined };
        return {
          kind: 'enqueue',
          ...placeOf(model, r.node),
          targets: [owed?.queueId ?? (1 as QueueId)],
          bytes: BYTES,
          topic: 'm/eu',
          options: { ...plain, ttlMs: r.ttlMs, replay },
        };
      }),
  );
