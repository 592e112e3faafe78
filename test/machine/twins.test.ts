import { fc } from '../support/properties.ts';
import { expect, it } from 'vitest';
import type { Command, EnqueueOptions } from '../../src/machine/command.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId, StampMs } from '../../src/machine/ids.ts';
import type { StoredSubscription } from '../../src/machine/session-record.ts';
import { MachineDriver } from './machine-driver.ts';

/** What came of a publish tells the next numbers. */
interface Place {
  number: number;
}

type Step =
  | 'save'
  | 'restart'
  | { wait: number }
  | { command: (place: Place) => Command; times?: number };

const queueId = fc.integer({ min: 1, max: 4 }) as fc.Arbitrary<QueueId>;
const groupId = fc.integer({ min: 0, max: 3 }) as fc.Arbitrary<GroupId>;
const small = fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 900 }), fc.nat({ max: 9_000 }));

const limits: fc.Arbitrary<QueueLimits> = fc
  .record({
    deliveryLimit: fc.constantFrom(1, 3, 20),
    defaultGroup: fc.constantFrom('shared', 'client'),
    groupExpiresMs: fc.constantFrom(1_000, 20_000),
    ttlMs: fc.constantFrom(0, 0, 500, 30_000),
    maxMessages: fc.constantFrom(0, 0, 5, 300),
    maxBytes: fc.constantFrom(0, 0, 1_500, 90_000),
    overflow: fc.constantFrom('drop-head', 'reject-publish'),
    retention: fc.record({
      ageMs: fc.constantFrom(0, 0, 1_000, 40_000),
      bytes: fc.constantFrom(0, 0, 2_000, 60_000),
      messages: fc.constantFrom(0, 0, 3, 500),
    }),
    deadLetter: fc.constantFrom('', '$dlq/a'),
    maxPriority: fc.constantFrom(0, 9),
    maxProducers: fc.constantFrom(0, 1, 10),
    producerExpiresMs: fc.constantFrom(1_000, 30_000),
  })
  .map((each) => ({ ...DEFAULT_LIMITS, ...each }));

const options: fc.Arbitrary<EnqueueOptions | undefined> = fc.option(
  fc.record({
    ttlMs: fc.constantFrom(0, 0, 100, 7_000, 9_000_000),
    priority: fc.nat({ max: 9 }),
    delayMs: fc.constantFrom(0, 0, 0, 150, 5_000, 2_000_000),
    producer: fc.option(
      fc.record({ id: fc.constantFrom('p', 'q', 'r/s'), sequence: fc.nat({ max: 30 }) }),
      { nil: undefined },
    ),
    key: fc.option(
      fc.record({
        session: fc.constantFrom('s', 't/u'),
        ownerEpoch: fc.nat({ max: 2 }),
        packetId: fc.integer({ min: 1, max: 4 }),
        part: fc.option(fc.record({ after: fc.nat({ max: 3 }), through: fc.nat({ max: 4 }) }), {
          nil: undefined,
        }),
      }),
      { nil: undefined },
    ),
  }),
  { nil: undefined },
);

function command(arbitrary: fc.Arbitrary<Command>): fc.Arbitrary<Step> {
  return arbitrary.map((each) => ({ command: () => each }));
}

const NUMBERED = { node: 'n', boot: 1 };

const publishes: fc.Arbitrary<Step> = fc
  .record({
    targets: fc.array(queueId, { minLength: 1, maxLength: 3 }),
    bytes: fc.integer({ min: 1, max: 700 }),
    topic: fc.constantFrom('$queue/a', '$queue/a/eu', 'm/eu'),
    options,
  })
  .map((each) => ({
    command: (place) => {
      place.number += 1;
      const { number } = place;
      return { kind: 'enqueue', ...NUMBERED, number, answeredUpTo: number - 1, ...each };
    },
  }));

/** Enough to fill chunks. */
const bursts: fc.Arbitrary<Step> = fc
  .record({ publish: publishes, times: fc.constantFrom(300, 4_200) })
  .map(({ publish, times }) => (typeof publish === 'object' ? { ...publish, times } : publish));

const releases: fc.Arbitrary<Step> = fc
  .record({
    session: fc.constantFrom('s', 't/u'),
    ownerEpoch: fc.nat({ max: 2 }),
    packetId: fc.integer({ min: 1, max: 4 }),
  })
  .map((key) => ({
    command: (place) => {
      place.number += 1;
      const { number } = place;
      return { kind: 'release', ...NUMBERED, number, answeredUpTo: number - 1, key };
    },
  }));

const offset = small as fc.Arbitrary<number> as fc.Arbitrary<Offset>;
const range = fc.record({ from: offset, count: small }).map(({ from, count }) => ({
  from,
  to: (from + count) as Offset,
}));

const ofOwner = { queueId, ownerEpoch: fc.nat({ max: 4 }) };
const SUBSCRIPTION: StoredSubscription = {
  filter: 'm/#',
  qos: 1,
  noLocal: true,
  retainAsPublished: false,
  retainHandling: 2,
  identifier: 7,
  wish: '',
};
const SHARED: StoredSubscription = { ...SUBSCRIPTION, filter: '$share/g/m', isRouted: true };

const WEIGHTED: readonly (readonly [number, fc.Arbitrary<Step>])[] = [
  [80, publishes],
  [1, bursts],
  [8, releases],
  [
    40,
    command(
      fc.record({
        kind: fc.constant('settle'),
        queueId,
        groupId,
        offset,
        outcome: fc.constantFrom('complete', 'requeue', 'discard'),
        cause: fc.constantFrom('client', 'timeout', 'lost', 'returned'),
      }),
    ),
  ],
  [
    8,
    command(
      fc
        .record({ queueId, groupId, range, cause: fc.constantFrom('purged', 'expired') })
        .map(({ range: of, ...rest }) => ({ kind: 'settle-range', ...rest, ...of })),
    ),
  ],
  [
    8,
    command(
      fc
        .record({ queueId, groupId, range, target: fc.oneof(queueId, fc.constant('source')) })
        .map(({ range: of, target, ...rest }) => ({
          kind: 'move-range',
          ...rest,
          ...of,
          target: target as QueueId | 'source',
        })),
    ),
  ],
  [
    16,
    command(
      fc.record({
        kind: fc.constant('transfer'),
        intent: fc.integer({ min: 1, max: 60 }),
        targets: fc.array(queueId, { minLength: 1, maxLength: 2 }),
        bytes: fc.constant(100),
        topic: fc.constant('x'),
        options,
      }),
    ),
  ],
  [
    4,
    command(
      fc.record({
        kind: fc.constant('skip-intent'),
        intent: fc.integer({ min: 1, max: 60 }),
        reason: fc.constantFrom('unreadable', 'no-target'),
      }),
    ),
  ],
  [
    6,
    command(
      fc.record({
        kind: fc.constant('route-intent'),
        intent: fc.integer({ min: 1, max: 60 }),
        queueId: fc.constantFrom(2 ** 40 + 1, 2 ** 41 + 1).map((id) => id as QueueId),
      }),
    ),
  ],
  [
    6,
    command(
      fc.record({
        kind: fc.constant('end-route'),
        intent: fc.integer({ min: 1, max: 60 }),
        number: fc.integer({ min: 1, max: 30 }),
        how: fc.constantFrom('taken', 'refused', 'stale'),
        next: fc.integer({ min: 1, max: 30 }),
      }),
    ),
  ],
  [
    8,
    command(
      fc.record({
        kind: fc.constant('take-transfer'),
        from: fc.constantFrom(1, 2),
        number: fc.integer({ min: 1, max: 30 }),
        opened: fc.constant(1).map((ms) => ms as StampMs),
        lowestOpen: fc.integer({ min: 1, max: 20 }),
        targets: fc.array(queueId, { minLength: 1, maxLength: 2 }),
        bytes: fc.constant(100),
        topic: fc.constant('x'),
        options,
      }),
    ),
  ],
  [2, command(fc.record({ kind: fc.constant('end-session'), session: fc.constant('s') }))],
  [
    6,
    command(
      fc.record({
        kind: fc.constant('create-group'),
        queueId,
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        groupKind: fc.constantFrom('explicit', 'automatic'),
        filter: fc.constantFrom('', '', 'eu'),
        start: fc.oneof(
          fc.constant(undefined),
          fc.record({ kind: fc.constant('time'), ms: fc.integer({ min: 0, max: 9_999_999 }) }),
        ),
      }),
    ),
  ],
  [
    4,
    command(fc.record({ kind: fc.constant('idle-group'), queueId, groupId, idle: fc.boolean() })),
  ],
  [
    3,
    command(
      fc.record({
        kind: fc.constant('seek-group'),
        queueId,
        groupId,
        position: fc.record({ kind: fc.constant('time'), ms: fc.nat({ max: 3_000_000 }) }),
      }),
    ),
  ],
  [2, command(fc.record({ kind: fc.constant('delete-group'), queueId, groupId }))],
  [2, command(fc.record({ kind: fc.constant('retain'), queueId, start: offset }))],
  [3, command(fc.record({ kind: fc.constant('update-queue'), queueId, limits }))],
  [
    4,
    command(
      fc.record({ name: fc.constantFrom('a', '$dlq/a', 'b', 'c'), limits }).map((each) => ({
        kind: 'declare-queue',
        ...each,
        type: each.name === 'c' ? 'stream' : 'classic',
        topics: ['t'],
      })),
    ),
  ],
  [1, command(fc.record({ kind: fc.constant('delete-queue'), queueId }))],
  [
    2,
    command(
      fc.constantFrom('$session/a', '$session/b').map((name) => ({
        kind: 'declare-queue',
        ...defaultDefinition(name, 'session'),
      })),
    ),
  ],
  [
    8,
    command(
      fc.record({
        kind: fc.constant('claim-session'),
        queueId,
        epoch: fc.nat({ max: 3 }),
        token: fc.constantFrom('t1', 't2', 't3', 't4', 't5'),
        cleanStart: fc.boolean(),
        incarnation: fc.constantFrom('s', 't/u'),
        user: fc.constantFrom(undefined, '', 'u'),
        expirySeconds: fc.constantFrom(0, 1, 60),
        will: fc.constantFrom(
          undefined,
          { delaySeconds: 0, message: Buffer.from('w') },
          { delaySeconds: 1, message: Buffer.from('v') },
        ),
        limits: fc.record({
          maxMessages: fc.constantFrom(0, 5),
          maxBytes: fc.constantFrom(0, 1_500),
          overflow: fc.constantFrom('drop-head', 'reject-publish'),
        }),
      }),
    ),
  ],
  [
    16,
    command(
      fc.oneof(
        fc.record({
          kind: fc.constantFrom('halve-session', 'finish-session'),
          ...ofOwner,
          offset,
        }),
        fc.record({
          kind: fc.constant('leave-session'),
          ...ofOwner,
          expirySeconds: fc.constantFrom(0, 1, 60, undefined),
          isInPeace: fc.boolean(),
        }),
        fc.record({ kind: fc.constantFrom('resume-session', 'delete-session'), ...ofOwner }),
        fc.record({
          kind: fc.constant('end-will'),
          queueId,
          number: fc.nat({ max: 3 }),
        }),
        fc.record({
          kind: fc.constant('receive-session'),
          ...ofOwner,
          packetId: fc.nat({ max: 4 }),
        }),
        fc.record({
          kind: fc.constant('choose-session'),
          ...ofOwner,
          packetId: fc.nat({ max: 4 }),
          token: fc.nat({ max: 3 }),
          choices: fc.constantFrom([], [{ share: 3, queueId: 5 as QueueId }]),
          isInstead: fc.boolean(),
        }),
        fc.record({
          kind: fc.constant('change-session'),
          ...ofOwner,
          subscribe: fc.constantFrom([], [SUBSCRIPTION], [SHARED]),
          unsubscribe: fc.constantFrom([], ['m/#'], ['$share/g/m']),
        }),
      ),
    ),
  ],
  [
    30,
    fc
      .oneof(fc.nat({ max: 900 }), fc.nat({ max: 30_000 }), fc.nat({ max: 2_000_000 }))
      .map((wait) => ({ wait })),
  ],
  [40, command(fc.record({ kind: fc.constant('fire-timers'), max: fc.constantFrom(1, 3, 500) }))],
  [14, fc.constant('save' as const)],
  [3, fc.constant('restart' as const)],
];

it('what is in memory changes nothing: two machines, of which one forgets all the time', () => {
  const step = fc.oneof(...WEIGHTED.map(([weight, arbitrary]) => ({ weight, arbitrary })));
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 400, size: 'max' }), (steps) => {
      const keeps = new MachineDriver(100_000);
      const forgets = new MachineDriver(0);
      const both = (each: Command) => {
        const effects = keeps.run(each);
        expect(forgets.run(each)).toEqual(effects);
      };
      both({ kind: 'open-stream', node: 'n' });
      for (const name of ['a', '$dlq/a', 'b', 'c']) {
        const type = name === 'c' ? 'stream' : 'classic';
        both({ kind: 'declare-queue', name, type, topics: ['t'], limits: DEFAULT_LIMITS });
      }
      const place = { number: 0 };
      for (const each of steps) {
        if (each === 'save') {
          forgets.checkpoint();
          forgets.evict();
        } else if (each === 'restart') {
          forgets.restart();
        } else if ('wait' in each) {
          keeps.now += each.wait;
          forgets.now += each.wait;
        } else {
          for (let left = each.times ?? 1; left > 0; left -= 1) both(each.command(place));
          expect(forgets.machine.nextTimer()).toBe(keeps.machine.nextTimer());
        }
      }
      for (let fired = 0; keeps.machine.nextTimer() <= keeps.now; fired += 1) {
        if (fired > 5_000) throw new Error('the timers have no end');
        both({ kind: 'fire-timers', max: 500 });
      }
      expect(forgets.dump()).toEqual(keeps.dump());
    }),
    { numRuns: Number(process.env['TWIN_RUNS'] ?? 60) },
  );
}, 600_000);
