/**
 * The commands by which shard 0 says where names live and which shards there are, and the one by
 * which another shard hears that a place is out of date. Each has exactly one answer among its
 * effects, so that a leader knows whose it is by their order. Everything they need is in memory.
 *
 * In a shard to which they are not meant they are refused, and a fence has no effect.
 */

import type {
  AddShardCommand,
  DeclareQueueCommand,
  FenceNamesCommand,
  HostShardCommand,
  PlaceQueueCommand,
  UnplaceQueueCommand,
} from './command.ts';
import { placeNameProblem } from './definitions.ts';
import type { Effects, PlacementRefusal } from './effect.ts';
import { SHARDS_MAX } from './ids.ts';
import { NAMES_MAX, type QueuePlace } from './names.ts';
import type { Parts } from './parts.ts';
import type { Shards } from './shard-map.ts';

export type PlaceCommand =
  | PlaceQueueCommand
  | UnplaceQueueCommand
  | FenceNamesCommand
  | AddShardCommand
  | HostShardCommand;

/** The queues that are defined in this shard. */
export interface DefinedNames {
  readonly size: number;
  named(name: string): unknown;
}

export interface PlaceContext {
  readonly defined: DefinedNames;
  readonly parts: Parts;
}

const IN_SHARD_ZERO: QueuePlace = { shard: 0, version: 0 };

/** Where queues of this name are or are to be, as shard 0 knows it. */
export function placeOf(name: string, { defined, parts }: PlaceContext): QueuePlace | undefined {
  return defined.named(name) === undefined ? parts.names.get(name) : IN_SHARD_ZERO;
}

export function applyPlacing(command: PlaceCommand, context: PlaceContext, effects: Effects): void {
  const { names, shard } = context.parts;
  switch (command.kind) {
    case 'place-queue':
      place(command, context, effects);
      return;
    case 'unplace-queue': {
      const { name, version } = command;
      const removed = shard === 0 && names.remove(name, version);
      effects.addRare({ kind: 'queue-unplaced', name, removed });
      return;
    }
    case 'fence-names':
      if (isPlacedByOther(shard)) names.raiseFence(command.version);
      effects.addRare({ kind: 'names-fenced', version: command.version });
      return;
    default:
      changeMap(command, context.parts, effects);
  }
}

/** Why a queue that is not here must not be made here; undefined: it may. */
export function elsewhereProblem(
  { name, placed = 0 }: DeclareQueueCommand,
  { shard, names }: Parts,
): string | undefined {
  const there = shard === 0 ? names.get(name)?.shard : undefined;
  if (there !== undefined) return `queue ${name} is placed in shard ${there}`;
  if (!isPlacedByOther(shard) || placed > names.fence) return undefined;
  return placed === 0
    ? `shard 0 was not asked where queue ${name} is to be`
    : `the place of queue ${name} is out of date`;
}

/** One whose names are in shard 0; a shard in memory has none. */
function isPlacedByOther(shard: number): boolean {
  return shard > 0 && shard < SHARDS_MAX;
}

function place(command: PlaceQueueCommand, context: PlaceContext, effects: Effects): void {
  const { names, shard: own } = context.parts;
  const { name } = command;
  const refuse = (reason: PlacementRefusal, detail: string): void =>
    effects.addRare({ kind: 'placement-refused', reason, detail });
  const problem = own === 0 ? placeNameProblem(name) : 'shard 0 alone places queues';
  if (problem !== undefined) {
    refuse('invalid', problem);
    return;
  }
  const there = placeOf(name, context);
  const shard = there?.shard ?? chosen(command, context);
  if (shard === undefined) {
    refuse('no-shard', `none of the shards for queue ${name} is in the map`);
  } else if (shard === 0) {
    effects.addRare({ kind: 'queue-placed', name, ...IN_SHARD_ZERO });
  } else if (there === undefined && names.size >= NAMES_MAX) {
    refuse('too-many', `there are ${NAMES_MAX} queues in other shards`);
  } else {
    effects.addRare({ kind: 'queue-placed', name, ...names.place(name, shard) });
  }
}

/** Near another queue, or the emptiest; the lowest number where several are. */
function chosen({ among, near }: PlaceQueueCommand, context: PlaceContext): number | undefined {
  const neighbour = near === '' ? undefined : placeOf(near, context);
  if (neighbour !== undefined) return neighbour.shard;
  const { parts, defined } = context;
  let best: { readonly shard: number; readonly queues: number } | undefined;
  for (const shard of [...among].sort((a, b) => a - b)) {
    if (!parts.shards.has(shard)) continue;
    const queues = shard === 0 ? defined.size : parts.names.count(shard);
    if (best === undefined || queues < best.queues) best = { shard, queues };
  }
  return best?.shard;
}

function changeMap(
  command: AddShardCommand | HostShardCommand,
  { shard, shards }: Parts,
  effects: Effects,
): void {
  const before = shards.map;
  const problem =
    shard === 0 ? changeOfMap(command, shards) : 'the map of the shards is in shard 0';
  if (problem === undefined) {
    const { map } = shards;
    effects.addRare({ kind: 'shard-map-set', map, changed: map !== before });
  } else {
    effects.addRare({ kind: 'shard-map-refused', detail: problem });
  }
}

function changeOfMap(
  command: AddShardCommand | HostShardCommand,
  shards: Shards,
): string | undefined {
  switch (command.kind) {
    case 'add-shard':
      return shards.add(command.number, command.founders);
    case 'host-shard':
      return shards.host(command.number, command.node);
    case 'unhost-shard':
      return shards.unhost(command.number, command.node);
  }
}
