/**
 * Random commands for the machine and its model: what may come from clients, leaders and operators,
 * apt more often than not.
 */

import { fc } from '../support/properties.ts';
import {
  type Command,
  type EnqueueOptions,
  GROUP_KINDS,
  type Position,
  type PublishKey,
  RANGE_CAUSES,
  ROUTE_ENDS,
  SETTLE_CAUSES,
  SETTLE_OUTCOMES,
  SKIP_REASONS,
  VOID_REASONS,
} from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId, StampMs } from '../../src/machine/ids.ts';
import { BYTES, type ModelGroup } from './machine-model-queue.ts';
import type { MachineModel } from './machine-model.ts';
import { CommandStep } from './machine-runner.ts';

export const NODES = ['a', 'b'];
const TOPICS = [
  '$queue/orders',
  '$queue/orders/eu/1',
  '$queue/jobs/eu',
  'm/eu',
  '$queue/orders/us',
];
const FILTERS = ['', '', '', '#', 'eu/#', '+', '+/+', 'us', '#/x', 'a+'];

const limits: fc.Arbitrary<QueueLimits> = fc
  .record({
    retry: fc.record({
      minMs: fc.constantFrom(0, 1, 1, 1, 1_000, 1_000),
      maxMs: fc.constantFrom(1_000, 60_000),
      multiplier: fc.constantFrom(1, 1.5, 2),
      jitter: fc.constantFrom(0, 0.5, 1),
    }),
    deliveryLimit: fc.constantFrom(1, 3, 20),
    defaultGroup: fc.constantFrom('shared', 'shared', 'client'),
    groupStart: fc.constantFrom('first', 'next'),
    maxGroups: fc.constantFrom(2, 1_000),
    maxMessages: fc.constantFrom(0, 0, 0, 3, 20, 4_500),
    maxBytes: fc.constantFrom(0, 0, 0, 0, 0, 9, 200, 2_000),
    ttlMs: fc.constantFrom(0, 0, 0, 0, 300, 3_000),
    maxPriority: fc.constantFrom(0, 0, 4, 9),
    maxProducers: fc.constantFrom(1, 10_000),
    producerExpiresMs: fc.constantFrom(1_000, 3_600_000),
    groupExpiresMs: fc.constantFrom(1_000, 20_000),
    overflow: fc.constantFrom('drop-head', 'reject-publish'),
    retention: fc.record({
      ageMs: fc.constantFrom(0, 0, 0, 0, 1_000, 5_000),
      bytes: fc.constantFrom(0, 0, 0, 0, 200, 2_000),
      messages: fc.constantFrom(0, 0, 0, 2, 4_000),
    }),
    deadLetter: fc.constantFrom('', '', '', 'jobs', 'mail', 'orders'),
  })
  .map((limits) => ({ ...DEFAULT_LIMITS, ...limits }));

/** An id that exists, mostly; `pick` in [0, 1). */
function queueOf(model: MachineModel, pick: number): QueueId {
  const ids = [...model.queues.keys()];
  const at = Math.floor(pick * (ids.length + 0.2));
  return (ids[at] ?? Math.max(1, model.nextId - 1 - (at % 2))) as QueueId;
}

/** A group that exists, mostly. */
function groupOf(model: MachineModel, queueId: QueueId, pick: number): ModelGroup | undefined {
  const groups = model.queues.get(queueId)?.groups ?? [];
  return groups[Math.floor(pick * (groups.length + 0.1))];
}

/** An offset of the queue, most often near the floor of the group. */
function offsetOf(model: MachineModel, queueId: QueueId, of: { group: number; at: number }) {
  const next = model.queues.get(queueId)?.next ?? 0;
  const floor = groupOf(model, queueId, of.group)?.floor ?? 0;
  const span = next - floor;
  const near = of.at < 0.5 ? Math.min(span, 6) : span + 2;
  return (floor + Math.floor(((of.at * 2) % 1) * near)) as Offset;
}

/** The next number of the sender. */
export function placeOf(model: MachineModel, node: string) {
  const stream = model.streams.get(node);
  const number = (stream?.outcomes.length ?? 0) + 1;
  return { node, boot: stream?.boot ?? 0, number, answeredUpTo: number - 1 };
}

function enqueue(
  model: MachineModel,
  node: string,
  { targets, options }: { targets: QueueId[]; options?: EnqueueOptions | undefined },
): Command {
  const place = placeOf(model, node);
  const topic = TOPICS[place.number % TOPICS.length] as string;
  return { kind: 'enqueue', ...place, targets, bytes: BYTES, topic, options };
}

const key: fc.Arbitrary<PublishKey> = fc.record({
  session: fc.constantFrom('s', 't'),
  ownerEpoch: fc.constantFrom(1, 1, 1, 2),
  packetId: fc.integer({ min: 1, max: 4 }),
});

const options: fc.Arbitrary<EnqueueOptions> = fc.record({
  ttlMs: fc.constantFrom(0, 0, 200, 5_000),
  priority: fc.nat({ max: 9 }),
  delayMs: fc.constantFrom(0, 0, 0, 300, 2_000),
  producer: fc.option(
    fc.record({
      id: fc.constantFrom('p', 'q'),
      sequence: fc.oneof(fc.nat({ max: 12 }), fc.constantFrom(1_030, 5_000)),
    }),
    { nil: undefined, freq: 2 },
  ),
  key: fc.option(key, { nil: undefined, freq: 2 }),
});

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const node = fc.constantFrom(...NODES);

export const declare = fc
  .record({
    name: fc.constantFrom('orders', 'mqtt', 'jobs', 'mail'),
    type: fc.constantFrom('classic', 'classic', 'stream'),
    limits,
    other: fc.boolean(),
  })
  .map(
    (d) =>
      new CommandStep(`declare ${JSON.stringify(d)}`, () => ({
        kind: 'declare-queue',
        name: d.name,
        type: d.type,
        topics: d.other ? [`$queue/${d.name}`] : [`$queue/${d.name}/#`],
        limits: d.limits,
      })),
  );

export const enqueues = fc
  .record({
    node,
    picks: fc.array(unit, { maxLength: 3 }),
    options: fc.option(options, { nil: undefined, freq: 2 }),
  })
  .map(
    (e) =>
      new CommandStep(`enqueue ${JSON.stringify(e)}`, (model) => {
        const targets = e.picks.map((pick) => queueOf(model, pick));
        return enqueue(model, e.node, { targets, options: e.options });
      }),
  );

/** A publish in parts, of which one may be missing; with the same key again, in other parts. */
export const inParts = fc
  .record({ node, key, cuts: fc.array(unit, { maxLength: 3 }), lost: fc.option(fc.nat(3)) })
  .map(
    (p) =>
      new CommandStep(`parts ${JSON.stringify(p)}`, (model) => {
        const all = [...model.queues.keys()].sort((a, b) => a - b) as QueueId[];
        const cuts = p.cuts.map((cut) => Math.floor(cut * all.length)).sort((a, b) => a - b);
        const ends = [...new Set([...cuts, all.length])].filter((end) => end > 0);
        const plain = { ttlMs: 0, priority: 0, delayMs: 0, producer: undefined };
        const place = placeOf(model, p.node);
        return ends
          .map((end, at) => {
            const from = ends[at - 1] ?? 0;
            const through = end === all.length ? 0 : (all[end - 1] as number);
            const part = { after: from === 0 ? 0 : (all[from - 1] as number), through };
            const options = { ...plain, key: { ...p.key, part } };
            return { targets: all.slice(from, end), options };
          })
          .filter((_, at) => at !== p.lost)
          .map((asked, at) => ({
            kind: 'enqueue',
            ...place,
            number: place.number + at,
            bytes: BYTES,
            topic: 'm/eu',
            ...asked,
          }));
      }),
  );

export const release = fc.record({ node, key }).map(
  (r) =>
    new CommandStep(`release ${JSON.stringify(r)}`, (model) => ({
      kind: 'release',
      ...placeOf(model, r.node),
      key: r.key,
    })),
);

export const endSession = fc
  .constantFrom('s', 't', 'u')
  .map((session) => new CommandStep(`end ${session}`, () => ({ kind: 'end-session', session })));

/** An intent that is open, mostly. */
function intentOf(model: MachineModel, pick: number): number {
  const open = [...model.intents.keys()];
  return open[Math.floor(pick * (open.length + 0.1))] ?? model.nextIntent;
}

export const transfer = fc
  .record({ pick: unit, to: fc.array(unit, { maxLength: 2 }), options: fc.option(options) })
  .map(
    (t) =>
      new CommandStep(`transfer ${JSON.stringify(t)}`, (model) => ({
        kind: 'transfer',
        intent: intentOf(model, t.pick),
        targets: t.to.map((pick) => queueOf(model, pick)),
        bytes: BYTES,
        topic: '$queue/jobs/eu',
        options: t.options ?? undefined,
      })),
  );

export const skipIntent = fc.record({ pick: unit, reason: fc.constantFrom(...SKIP_REASONS) }).map(
  (s) =>
    new CommandStep(`skip ${JSON.stringify(s)}`, (model) => ({
      kind: 'skip-intent',
      intent: intentOf(model, s.pick),
      reason: s.reason,
    })),
);

const THERE = [2 ** 40 + 1, 2 ** 40 + 2, 3 * 2 ** 40 + 1] as QueueId[];

export const routeIntent = fc.record({ pick: unit, queueId: fc.constantFrom(...THERE) }).map(
  (r) =>
    new CommandStep(`route ${JSON.stringify(r)}`, (model) => ({
      kind: 'route-intent',
      intent: intentOf(model, r.pick),
      queueId: r.queueId,
    })),
);

export const endRoute = fc
  .record({ pick: unit, how: fc.constantFrom(...ROUTE_ENDS), ahead: fc.nat({ max: 3 }) })
  .map(
    (e) =>
      new CommandStep(`end route ${JSON.stringify(e)}`, (model) => {
        const routed = [...model.intents.values()].filter(({ route }) => route !== undefined);
        const intent = routed[Math.floor(e.pick * routed.length)];
        const number = intent?.route?.number ?? 1;
        const next = number + e.ahead;
        return { kind: 'end-route', intent: intent?.number ?? 1, number, how: e.how, next };
      }),
  );

export const takeTransfer = fc
  .record({
    from: fc.constantFrom(1, 2),
    number: fc.integer({ min: 1, max: 12 }),
    opened: fc.constantFrom(5, 5, 5, 6),
    behind: fc.nat({ max: 6 }),
    pick: unit,
    options: fc.option(options),
  })
  .map(
    (t) =>
      new CommandStep(`take ${JSON.stringify(t)}`, (model) => ({
        kind: 'take-transfer',
        from: t.from,
        number: t.number,
        opened: t.opened as StampMs,
        lowestOpen: Math.max(1, t.number - t.behind),
        targets: [queueOf(model, t.pick)],
        bytes: BYTES,
        topic: '$queue/jobs/eu',
        options: t.options ?? undefined,
      })),
  );

/** Retries, gaps, old boots, and numbers that run ahead of what is answered. */
export const oddNumbers = fc
  .record({
    node,
    back: fc.integer({ min: -2, max: 6 }),
    bootBack: fc.constantFrom(0, 0, 0, 1, -1),
    unanswered: fc.nat({ max: 8 }),
    reason: fc.option(fc.constantFrom(...VOID_REASONS), { nil: undefined }),
    pick: unit,
  })
  .map(
    (odd) =>
      new CommandStep(`odd ${JSON.stringify(odd)}`, (model) => {
        const next = enqueue(model, odd.node, { targets: [queueOf(model, odd.pick)] });
        if (next.kind !== 'enqueue') return [];
        const numbered = {
          ...next,
          number: Math.max(1, next.number - odd.back),
          boot: next.boot - odd.bootBack,
          answeredUpTo: Math.max(0, next.number - 1 - odd.unanswered),
        };
        const { targets: _, bytes: __, topic: ___, options: ____, ...rest } = numbered;
        return odd.reason === undefined ? numbered : { ...rest, kind: 'void', reason: odd.reason };
      }),
  );

export const burst = fc.record({ node, pick: unit, count: fc.integer({ min: 1, max: 5_000 }) }).map(
  ({ node: from, pick, count }) =>
    new CommandStep(`burst ${from} ${pick} ${count}`, (model) => {
      const first = enqueue(model, from, { targets: [queueOf(model, pick)] });
      return first.kind !== 'enqueue' || first.boot === 0
        ? []
        : Array.from({ length: count }, (_, i) => ({
            ...first,
            number: first.number + i,
            answeredUpTo: first.number + i - 1,
          }));
    }),
);

export const settle = fc
  .record({
    pick: unit,
    at: unit,
    outcome: fc.constantFrom(...SETTLE_OUTCOMES, 'complete' as const),
    cause: fc.constantFrom(...SETTLE_CAUSES),
    group: unit,
  })
  .map(
    ({ pick, at, outcome, cause, group }) =>
      new CommandStep(`settle ${pick} ${at} ${outcome} ${cause} ${group}`, (model) => {
        const queueId = queueOf(model, pick);
        const groupId = groupOf(model, queueId, group)?.id ?? (7 as GroupId);
        const offset = offsetOf(model, queueId, { group, at });
        return { kind: 'settle', queueId, groupId, offset, outcome, cause };
      }),
  );

/** One command for each offset. */
export const settleMany = fc
  .record({
    pick: unit,
    group: unit,
    skip: fc.nat({ max: 3 }),
    count: fc.nat({ max: 6_000 }),
    step: fc.constantFrom(1, 1, 1, 2),
    backwards: fc.boolean(),
    outcome: fc.constantFrom(...SETTLE_OUTCOMES, 'complete' as const),
  })
  .map(
    (many) =>
      new CommandStep(`many ${JSON.stringify(many)}`, (model) => {
        const queueId = queueOf(model, many.pick);
        const group = groupOf(model, queueId, many.group);
        if (group === undefined) return [];
        const next = model.queues.get(queueId)?.next ?? 0;
        const from = group.floor + many.skip;
        const to = Math.min(next, from + (many.outcome === 'requeue' ? 50 : many.count));
        const of = { queueId, groupId: group.id, outcome: many.outcome, cause: 'client' } as const;
        const commands: Command[] = [];
        for (let offset = from; offset < to; offset += many.step) {
          commands.push({ kind: 'settle', ...of, offset: offset as Offset });
        }
        return many.backwards ? commands.reverse() : commands;
      }),
  );

export const settleRange = fc
  .record({
    pick: unit,
    group: unit,
    at: unit,
    back: fc.nat({ max: 3 }),
    count: fc.oneof(fc.nat({ max: 6 }), fc.nat({ max: 6_000 }), fc.constant(10_000)),
    cause: fc.constantFrom(...RANGE_CAUSES),
  })
  .map(
    (range) =>
      new CommandStep(`range ${JSON.stringify(range)}`, (model) => {
        const queueId = queueOf(model, range.pick);
        const groupId = groupOf(model, queueId, range.group)?.id ?? (7 as GroupId);
        const at = offsetOf(model, queueId, range);
        const from = Math.max(0, at - range.back) as Offset;
        const to = (from + range.count) as Offset;
        return { kind: 'settle-range', queueId, groupId, from, to, cause: range.cause };
      }),
  );

/** Made of an offset near the group, and of the time. */
const position: fc.Arbitrary<(offset: number, stamp: number) => Position> = fc
  .record({
    kind: fc.constantFrom('first', 'last', 'next', 'offset', 'offset', 'time', 'time'),
    back: fc.integer({ min: -500, max: 5_000 }),
  })
  .map(({ kind, back }) => (offset, stamp) => {
    if (kind === 'time') return { kind, ms: stamp - back };
    return kind === 'offset' ? { kind, offset } : { kind };
  });

function stampNear(model: MachineModel, queueId: QueueId, offset: number): number {
  return model.queues.get(queueId)?.messages[offset]?.stamp ?? 1_000_000;
}

export const move = fc
  .record({ pick: unit, group: unit, at: unit, to: unit, count: fc.nat({ max: 600 }) })
  .map(
    (m) =>
      new CommandStep(`move ${JSON.stringify(m)}`, (model) => {
        const queueId = queueOf(model, m.pick);
        const groupId = groupOf(model, queueId, m.group)?.id ?? (7 as GroupId);
        const from = offsetOf(model, queueId, m);
        const to = (from + m.count) as Offset;
        const target = m.to < 0.3 ? ('source' as const) : queueOf(model, m.to);
        return { kind: 'move-range', queueId, groupId, from, to, target };
      }),
  );

export const createGroup = fc
  .record({
    pick: unit,
    name: fc.constantFrom('default', 'a', 'b', 'c', 'd', '', 'x\ny'),
    groupKind: fc.constantFrom(...GROUP_KINDS),
    filter: fc.constantFrom(...FILTERS),
    start: fc.option(position, { nil: undefined }),
    at: unit,
  })
  .map(
    (g) =>
      new CommandStep(`group ${JSON.stringify(g)}`, (model) => {
        const queueId = queueOf(model, g.pick);
        const at = offsetOf(model, queueId, { group: 0, at: g.at });
        const start = g.start?.(at, stampNear(model, queueId, at));
        const { name, groupKind, filter } = g;
        return { kind: 'create-group', queueId, name, groupKind, filter, start };
      }),
  );

export const groupCommand = fc
  .record({
    kind: fc.constantFrom('delete-group', 'seek-group', 'seek-group'),
    pick: unit,
    group: unit,
    position,
    at: unit,
  })
  .map(
    (g) =>
      new CommandStep(`of group ${JSON.stringify(g)}`, (model): Command => {
        const queueId = queueOf(model, g.pick);
        const groupId = groupOf(model, queueId, g.group)?.id ?? (7 as GroupId);
        if (g.kind === 'delete-group') return { kind: g.kind, queueId, groupId };
        const at = offsetOf(model, queueId, g);
        const to = g.position(at, stampNear(model, queueId, at));
        return { kind: 'seek-group', queueId, groupId, position: to };
      }),
  );

export const idleGroup = fc
  .record({ pick: unit, group: unit, idle: fc.constantFrom(true, true, true, false) })
  .map(
    (g) =>
      new CommandStep(`idle ${JSON.stringify(g)}`, (model) => {
        const queueId = queueOf(model, g.pick);
        const groupId = groupOf(model, queueId, g.group)?.id ?? (7 as GroupId);
        return { kind: 'idle-group', queueId, groupId, idle: g.idle };
      }),
  );

export const retain = fc.record({ pick: unit, group: unit, at: unit }).map(
  (r) =>
    new CommandStep(`retain ${JSON.stringify(r)}`, (model) => {
      const queueId = queueOf(model, r.pick);
      return { kind: 'retain', queueId, start: offsetOf(model, queueId, r) };
    }),
);

export const open = node.map(
  (name) => new CommandStep(`open ${name}`, () => ({ kind: 'open-stream', node: name })),
);

export const update = fc.record({ pick: unit, limits }).map(
  ({ pick, limits: to }) =>
    new CommandStep(`update ${pick} ${JSON.stringify(to)}`, (model) => ({
      kind: 'update-queue',
      queueId: queueOf(model, pick),
      limits: to,
    })),
);

export const remove = unit.map(
  (pick) =>
    new CommandStep(`delete ${pick}`, (model) => ({
      kind: 'delete-queue',
      queueId: queueOf(model, pick),
    })),
);

export const version = fc
  .constantFrom(0, 1, 2)
  .map((to) => new CommandStep(`version ${to}`, () => ({ kind: 'set-version', version: to })));
