/**
 * Random commands for the machine and its model: what may come from clients, leaders and operators,
 * apt more often than not.
 */

import fc from 'fast-check';
import {
  type Command,
  GROUP_KINDS,
  type Position,
  RANGE_CAUSES,
  SETTLE_CAUSES,
  SETTLE_OUTCOMES,
  VOID_REASONS,
} from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import type { ModelGroup } from './machine-model-queue.ts';
import type { MachineModel } from './machine-model.ts';
import { CommandStep } from './machine-runner.ts';

const NODES = ['a', 'b'];
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
      minMs: fc.constantFrom(0, 1, 1_000),
      maxMs: fc.constantFrom(1_000, 60_000),
      multiplier: fc.constantFrom(1, 1.5, 2),
      jitter: fc.constantFrom(0, 0.5, 1),
    }),
    deliveryLimit: fc.constantFrom(1, 3, 20),
    defaultGroup: fc.constantFrom('shared', 'shared', 'client'),
    groupStart: fc.constantFrom('first', 'next'),
    maxGroups: fc.constantFrom(2, 1_000),
    maxMessages: fc.constantFrom(0, 0, 0, 3, 20, 4_500),
    overflow: fc.constantFrom('drop-head', 'reject-publish'),
    retention: fc.constantFrom(0, 0, 0, 2, 4_000).map((messages) => ({
      ...DEFAULT_LIMITS.retention,
      messages,
    })),
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

function enqueue(model: MachineModel, node: string, targets: QueueId[]): Command {
  const stream = model.streams.get(node);
  const number = (stream?.outcomes.length ?? 0) + 1;
  const boot = stream?.boot ?? 0;
  const place = { node, boot, number, answeredUpTo: number - 1 };
  const topic = TOPICS[number % TOPICS.length] as string;
  return { kind: 'enqueue', ...place, targets, bytes: 10, topic, options: undefined };
}

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

export const enqueues = fc.record({ node, picks: fc.array(unit, { maxLength: 3 }) }).map(
  ({ node: from, picks }) =>
    new CommandStep(`enqueue ${from} ${picks.join(' ')}`, (model) =>
      enqueue(
        model,
        from,
        picks.map((pick) => queueOf(model, pick)),
      ),
    ),
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
        const next = enqueue(model, odd.node, [queueOf(model, odd.pick)]);
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
      const first = enqueue(model, from, [queueOf(model, pick)]);
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

const position: fc.Arbitrary<(offset: number) => Position> = fc
  .constantFrom('first', 'last', 'next', 'offset', 'offset')
  .map((kind) => (offset) => (kind === 'offset' ? { kind, offset } : { kind }));

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
        const start = g.start?.(offsetOf(model, queueId, { group: 0, at: g.at }));
        const { name, groupKind, filter } = g;
        return { kind: 'create-group', queueId, name, groupKind, filter, start };
      }),
  );

export const groupCommand = fc
  .record({
    kind: fc.constantFrom('delete-group', 'seek-group', 'seek-group', 'idle-group'),
    pick: unit,
    group: unit,
    position,
    at: unit,
    idle: fc.boolean(),
  })
  .map(
    (g) =>
      new CommandStep(`of group ${JSON.stringify(g)}`, (model): Command => {
        const queueId = queueOf(model, g.pick);
        const groupId = groupOf(model, queueId, g.group)?.id ?? (7 as GroupId);
        if (g.kind === 'delete-group') return { kind: g.kind, queueId, groupId };
        if (g.kind === 'idle-group') return { kind: g.kind, queueId, groupId, idle: g.idle };
        const to = g.position(offsetOf(model, queueId, g));
        return { kind: 'seek-group', queueId, groupId, position: to };
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
