/**
 * What operators ask of the shard, and the answers, as plain data (see requests.ts).
 *
 * ```
 *  request   ["list", after, max]                  ["show", name]
 *            ["delete", name, version | null]      ["purge", name, group | null]
 *            ["peek", name, from, max]             ["move", name, group, to, max]
 *            ["seek", name, group, position]       ["delete-group", name, group]
 *            ["make-groups", name, [[group, filter, position | null], ...]]
 *  reply     list:  [[summary, ...], more]         show: [summary, [group, ...], heldBy, damaged]
 *            peek:  [[[offset, stored message], ...], next offset | null]
 *            purge, move, seek: number             delete, delete-group, make-groups: null
 *  summary   [queueId, definition, start, next, depth, consumers, leaving]
 *  group     [name, kind, filter, floor, depth, delivered, consumers, stuck | null]
 *  position  [kind, offset or ms]     heldBy  [group, offset] | null     damaged  [[from, to], ...]
 * ```
 *
 * Lists come in parts of a bounded size: `more`, or the next offset, says where to go on. What does
 * not fit is a CodecError.
 */

import type { GroupSummary, QueueDetail, QueueSummary } from '../broker/ports.ts';
import { GROUP_KINDS } from '../machine/command.ts';
import type { Position } from '../machine/command.ts';
import { definitionData, placedOf } from '../machine/definitions.ts';
import type { PlacedDefinition, QueueDefinition } from '../machine/definitions.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import { booleanIn, countIn, listIn, textIn } from './plain-fields.ts';
import { POSITION_KINDS } from './rare-commands.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export type AdminRequest =
  | { readonly kind: 'list'; readonly after: string; readonly max: number }
  | { readonly kind: 'show'; readonly name: string }
  /** `placed`: the version of where its name lives; undefined: the queue is in shard 0. */
  | { readonly kind: 'delete'; readonly name: string; readonly placed?: number | undefined }
  | { readonly kind: 'purge'; readonly name: string; readonly group: string | undefined }
  | { readonly kind: 'peek'; readonly name: string; readonly from: Offset; readonly max: number }
  | {
      readonly kind: 'move';
      readonly name: string;
      readonly group: string;
      readonly to: string;
      readonly max: number;
    }
  | {
      readonly kind: 'seek';
      readonly name: string;
      readonly group: string;
      readonly position: Position;
    }
  | { readonly kind: 'delete-group'; readonly name: string; readonly group: string }
  | { readonly kind: 'make-groups'; readonly name: string; readonly groups: readonly NewGroup[] };

/** An explicit group, made where it is missing. */
export interface NewGroup {
  /** With its filter, if it has one. */
  readonly name: string;
  readonly filter: string;
  /** Undefined: as the queue says. */
  readonly start: Position | undefined;
}

export const ADMIN_REQUESTS = [
  'list',
  'show',
  'delete',
  'purge',
  'peek',
  'move',
  'seek',
  'delete-group',
  'make-groups',
] as const satisfies readonly AdminRequest['kind'][];

/** A part of the list of queues; `more`: ask again behind the last one. */
export interface ListPart {
  readonly queues: readonly QueueSummary[];
  readonly more: boolean;
}

/** As it is stored. */
export interface PeekedBytes {
  readonly offset: Offset;
  readonly stored: Uint8Array;
}

/** A part of what was asked for; `next` undefined: nothing is left. */
export interface PeekPart {
  readonly messages: readonly PeekedBytes[];
  readonly next: Offset | undefined;
}

// --- Requests.

export function adminRequestData(request: AdminRequest): PlainData {
  const { kind } = request;
  switch (kind) {
    case 'list':
      return [kind, request.after, request.max];
    case 'show':
      return [kind, request.name];
    case 'delete':
      return [kind, request.name, request.placed ?? null];
    case 'purge':
      return [kind, request.name, request.group ?? null];
    case 'peek':
      return [kind, request.name, request.from, request.max];
    case 'move':
      return [kind, request.name, request.group, request.to, request.max];
    case 'seek':
      return [kind, request.name, request.group, positionData(request.position)];
    case 'delete-group':
      return [kind, request.name, request.group];
    case 'make-groups':
      return [kind, request.name, request.groups.map(newGroupData)];
  }
}

export function adminRequestOf(
  kind: AdminRequest['kind'],
  fields: readonly PlainData[],
): AdminRequest {
  const [first, second, third, fourth] = fields;
  switch (kind) {
    case 'list':
      return { kind, after: textIn(first), max: countIn(second) };
    case 'show':
      return { kind, name: textIn(first) };
    case 'delete':
      return { kind, name: textIn(first), placed: second === null ? undefined : countIn(second) };
    case 'purge':
      return { kind, name: textIn(first), group: second === null ? undefined : textIn(second) };
    case 'peek':
      return { kind, name: textIn(first), from: offsetIn(second), max: countIn(third) };
    case 'move': {
      const of = { name: textIn(first), group: textIn(second) };
      return { kind, ...of, to: textIn(third), max: countIn(fourth) };
    }
    case 'seek': {
      const of = { name: textIn(first), group: textIn(second) };
      return { kind, ...of, position: positionIn(third) };
    }
    case 'delete-group':
      return { kind, name: textIn(first), group: textIn(second) };
    case 'make-groups':
      return { kind, name: textIn(first), groups: listIn(second).map(newGroupIn) };
  }
}

function newGroupData({ name, filter, start }: NewGroup): PlainData {
  return [name, filter, start === undefined ? null : positionData(start)];
}

function newGroupIn(data: PlainData): NewGroup {
  const [name, filter, start] = listIn(data);
  const position = start === null ? undefined : positionIn(start);
  return { name: textIn(name), filter: textIn(filter), start: position };
}

function positionData(position: Position): PlainData {
  if (position.kind === 'offset') return [position.kind, position.offset];
  return [position.kind, position.kind === 'time' ? position.ms : 0];
}

function positionIn(data: PlainData | undefined): Position {
  const [word, value] = listIn(data);
  const kind = POSITION_KINDS.find((each) => each === word);
  if (kind === undefined) throw new CodecError('bad-value', 'a position was expected');
  if (kind === 'offset') return { kind, offset: countIn(value) };
  return kind === 'time' ? { kind, ms: countIn(value) } : { kind };
}

// --- Answers.

function summaryData(summary: QueueSummary): PlainData {
  const { queueId, definition, start, next, depth, consumers, leaving } = summary;
  const declared = definitionData(definition) as PlainData;
  return [queueId, declared, start, next, depth, consumers, leaving];
}

function summaryIn(data: PlainData | undefined): QueueSummary {
  const [queueId, definition, start, next, depth, consumers, leaving] = listIn(data);
  return {
    queueId: countIn(queueId) as QueueId,
    definition: definitionIn(definition),
    start: offsetIn(start),
    next: offsetIn(next),
    depth: countIn(depth),
    consumers: countIn(consumers),
    leaving: countIn(leaving),
  };
}

function groupData(group: GroupSummary): PlainData {
  const { name, kind, filter, floor, depth, delivered, consumers, stuck, lost } = group;
  return [name, kind, filter, floor, depth, delivered, consumers, stuck ?? null, lost ?? null];
}

function groupIn(data: PlainData): GroupSummary {
  const [name, word, filter, floor, depth, delivered, consumers, stuck, lost] = listIn(data);
  const kind = GROUP_KINDS.find((each) => each === word);
  if (kind === undefined) throw new CodecError('bad-value', 'the kind of a group was expected');
  return {
    name: textIn(name),
    kind,
    filter: textIn(filter),
    floor: offsetIn(floor),
    depth: countIn(depth),
    delivered: countIn(delivered),
    consumers: countIn(consumers),
    stuck: stuck === null ? undefined : offsetIn(stuck),
    lost: lost === null ? undefined : rangeIn(lost),
  };
}

export function listData({ queues, more }: ListPart): PlainData {
  return [queues.map(summaryData), more];
}

export function listPartIn(data: PlainData): ListPart {
  const [queues, more] = listIn(data);
  return { queues: listIn(queues).map(summaryIn), more: booleanIn(more) };
}

export function detailData(detail: QueueDetail): PlainData {
  const { groups, heldBy, damaged } = detail;
  const held = heldBy === undefined ? null : [heldBy.group, heldBy.offset];
  return [summaryData(detail), groups.map(groupData), held, damaged];
}

export function detailIn(data: PlainData): QueueDetail {
  const [summary, groups, held, damaged] = listIn(data);
  return {
    ...summaryIn(summary),
    groups: listIn(groups).map(groupIn),
    heldBy: held === null ? undefined : heldIn(held),
    damaged: listIn(damaged).map(rangeIn),
  };
}

function rangeIn(data: PlainData | undefined): readonly [Offset, Offset] {
  const [from, through] = listIn(data);
  return [offsetIn(from), offsetIn(through)];
}

function heldIn(data: PlainData | undefined): { group: string; offset: Offset } {
  const [group, offset] = listIn(data);
  return { group: textIn(group), offset: offsetIn(offset) };
}

export function peekData({ messages, next }: PeekPart): PlainData {
  return [messages.map(({ offset, stored }) => [offset, stored]), next ?? null];
}

export function peekPartIn(data: PlainData): PeekPart {
  const [messages, next] = listIn(data);
  return {
    messages: listIn(messages).map((each) => {
      const [offset, stored] = listIn(each);
      if (!(stored instanceof Uint8Array)) throw new CodecError('bad-value', 'bytes were expected');
      return { offset: offsetIn(offset), stored };
    }),
    next: next === null ? undefined : offsetIn(next),
  };
}

function offsetIn(data: PlainData | undefined): Offset {
  return countIn(data) as Offset;
}

function definitionIn(data: PlainData | undefined): QueueDefinition {
  return placedIn(data);
}

/** A definition as it came from outside; what is in it is the machine's to judge. */
export function placedIn(data: PlainData | undefined): PlacedDefinition {
  try {
    return placedOf(data as Parameters<typeof placedOf>[0]);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'a definition');
  }
}
