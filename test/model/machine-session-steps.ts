/** Random commands of durable sessions: by owners, former owners, and the leader. */

import { fc } from '../support/properties.ts';
import type { Command } from '../../src/machine/command.ts';
import { defaultLimits } from '../../src/machine/default-definition.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import type { StoredSubscription } from '../../src/machine/session-record.ts';
import type { MachineModel } from './machine-model.ts';
import { CommandStep } from './machine-runner.ts';

const NAMES = ['$session/a', '$session/b%2F1'];
const FILTERS = [
  'm/#',
  'm/eu',
  '+/eu',
  '$share/g/m',
  '$share/h/m/#',
  '$queue/orders',
  '$SYS/#',
  'm/us',
];
const EXPIRIES = [0, 0, 1, 2, 60, 90, 100_000, 4_294_967_295];

export const declareSession = fc.constantFrom(...NAMES, '$session/', 'plain').map(
  (name) =>
    new CommandStep(`declare ${name}`, () => ({
      kind: 'declare-queue',
      name,
      type: 'session',
      topics: [],
      limits: defaultLimits(name, 'session'),
    })),
);

const plain: fc.Arbitrary<StoredSubscription> = fc.record({
  filter: fc.constantFrom(...FILTERS),
  qos: fc.constantFrom(0, 1, 2),
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  retainHandling: fc.constantFrom(0, 1, 2),
  identifier: fc.nat({ max: 3 }),
  wish: fc.constantFrom('', 'g'),
  replay: fc.option(
    fc.record({
      run: fc.integer({ min: 1, max: 4 }),
      next: fc.constantFrom(0, 0, 3),
      end: fc.constantFrom(0, 0, 8, 20),
    }),
    { nil: undefined, freq: 2 },
  ),
});

/** Those of shares mostly routed. */
const subscription = fc.record({ plain, isOld: fc.boolean() }).map(({ plain: given, isOld }) => {
  const isRouted = given.filter.startsWith('$share/') && given.qos > 0 && !isOld;
  return isRouted ? { ...given, isRouted } : given;
});

/** A session's queue mostly, and its epoch. */
function sessionOf(model: MachineModel, pick: number): { queueId: QueueId; epoch: number } {
  const claimed = new Map(
    model.mqttSessions.claimed().map(({ queueId, epoch }) => [queueId, epoch] as const),
  );
  const all = [...model.queues.values()].filter(({ definition }) => definition.type === 'session');
  const queueId = all[Math.floor(pick * (all.length + 0.1))]?.id ?? (1 as QueueId);
  return { queueId, epoch: claimed.get(queueId) ?? 0 };
}

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

export const claim = fc
  .record({
    pick: unit,
    token: fc.integer({ min: 1, max: 1_000_000 }),
    back: fc.constantFrom(0, 0, 0, 0, 1),
    again: fc.constantFrom(false, false, true),
    cleanStart: fc.constantFrom(false, false, true),
    incarnation: fc.constantFrom('s', 't', 'x', 'y'),
    user: fc.constantFrom(undefined, undefined, '', 'u', 'u', 'v'),
    expirySeconds: fc.constantFrom(...EXPIRIES),
    limits: fc.record({
      maxMessages: fc.constantFrom(0, 3, 1_000),
      maxBytes: fc.constantFrom(0, 0, 0, 2_000),
      overflow: fc.constantFrom('drop-head', 'reject-publish'),
    }),
  })
  .map(
    (c) =>
      new CommandStep(`claim ${JSON.stringify(c)}`, (model) => {
        const { queueId, epoch } = sessionOf(model, c.pick);
        const { cleanStart, incarnation, user, expirySeconds, limits } = c;
        const life = { cleanStart, incarnation, user, expirySeconds, limits };
        const of = { ...life, will: undefined };
        const token = `t${c.token}`;
        const claimed = { kind: 'claim-session', queueId, token, ...of } as const;
        const first = { ...claimed, epoch: Math.max(0, epoch - c.back) };
        return c.again ? [first, { ...claimed, epoch: epoch + 1 }] : first;
      }),
  );

export const ofSession = fc
  .record({
    kind: fc.constantFrom(
      'change-session',
      'change-session',
      'replay-session',
      'halve-session',
      'halve-session',
      'finish-session',
      'leave-session',
      'leave-session',
      'resume-session',
      'receive-session',
      'receive-session',
      'choose-session',
      'choose-session',
      'delete-session',
    ),
    pick: unit,
    back: fc.constantFrom(0, 0, 0, 0, 1, -1),
    at: fc.nat({ max: 12 }),
    subscribe: fc.array(subscription, { maxLength: 3 }),
    unsubscribe: fc.array(fc.constantFrom(...FILTERS), { maxLength: 2 }),
    expirySeconds: fc.constantFrom(...EXPIRIES, undefined),
    shares: fc.uniqueArray(fc.nat({ max: 3 }), { maxLength: 3 }),
  })
  .map(
    (s) =>
      new CommandStep(`session ${JSON.stringify(s)}`, (model): Command => {
        const { queueId, epoch } = sessionOf(model, s.pick);
        const of = { queueId, ownerEpoch: Math.max(0, epoch - s.back) };
        const { kind, subscribe, unsubscribe, expirySeconds } = s;
        const floor = model.queues.get(queueId)?.groups[0]?.floor ?? 0;
        switch (kind) {
          case 'replay-session': {
            const run = 1 + (s.at % 4);
            const place = { run, next: s.at % 2 === 0 ? 0 : s.at, end: 3 * s.at };
            return { kind, ...of, replays: FILTERS.map((filter) => ({ filter, ...place })) };
          }
          case 'change-session':
            return { kind, ...of, subscribe, unsubscribe };
          case 'halve-session':
          case 'finish-session':
            return { kind, ...of, offset: Math.max(0, floor + s.at - 4) as Offset };
          case 'leave-session':
            return { kind, ...of, expirySeconds, isInPeace: s.at % 2 === 0 };
          case 'receive-session':
            return { kind, ...of, packetId: 1 + (s.at % 4) };
          case 'choose-session': {
            const choices = s.shares.map((share) => ({
              share,
              queueId: (share + s.at) as QueueId,
            }));
            const token = 1 + (s.at % 3);
            return { kind, ...of, packetId: 1 + (s.at % 4), token, choices, isInstead: s.at > 9 };
          }
          default:
            return { kind, ...of };
        }
      }),
  );
