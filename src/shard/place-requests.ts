/**
 * What nodes ask a shard about names and shards, and the answers, as plain data (see requests.ts).
 *
 * ```
 *  request   ["place", name, [shard, ...], near]   ["unplace", name, version]
 *            ["where", name]                       ["barrier"]
 *            ["shard-map"]                         ["add-shard", number, [node, ...]]
 *            ["host-shard", number, node]          ["unhost-shard", number, node]
 *            ["missing", fence, [name, ...]], and [key, ...] where keys are asked about
 *  reply     place:     [shard, version]           where: the same, or null
 *            shard-map: [[number, [founder, ...], [host, ...]], ...]
 *            missing:   [name, ..., key, ...]
 *            all others: null
 * ```
 *
 * `where`, `barrier`, `shard-map` and `missing` are answered as of the moment in which they were
 * asked, behind the queues that were changed before. What does not fit is a CodecError.
 */

import type { QueuePlace } from '../machine/names.ts';
import type { ShardMap } from '../machine/shard-map.ts';
import { countIn, listIn, textIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';

export type PlaceRequest =
  | {
      readonly kind: 'place';
      readonly name: string;
      readonly among: readonly number[];
      /** '': near none. */
      readonly near: string;
    }
  | { readonly kind: 'unplace'; readonly name: string; readonly version: number }
  | { readonly kind: 'where'; readonly name: string }
  | { readonly kind: 'barrier' }
  | { readonly kind: 'shard-map' }
  | {
      readonly kind: 'missing';
      /** Raised to this version before; 0: left as it is. */
      readonly fence: number;
      readonly names: readonly string[];
      /** Of publishes (`key-names.ts`); who has not learned of them passes them over. */
      readonly keys: readonly string[];
    }
  | { readonly kind: 'add-shard'; readonly number: number; readonly founders: readonly string[] }
  | {
      readonly kind: 'host-shard' | 'unhost-shard';
      readonly number: number;
      readonly node: string;
    };

export const PLACE_REQUESTS = [
  'place',
  'unplace',
  'where',
  'barrier',
  'shard-map',
  'missing',
  'add-shard',
  'host-shard',
  'unhost-shard',
] as const satisfies readonly PlaceRequest['kind'][];

export function placeRequestData(request: PlaceRequest): PlainData {
  const { kind } = request;
  switch (kind) {
    case 'place':
      return [kind, request.name, request.among, request.near];
    case 'unplace':
      return [kind, request.name, request.version];
    case 'where':
      return [kind, request.name];
    case 'barrier':
    case 'shard-map':
      return [kind];
    case 'missing':
      return request.keys.length === 0
        ? [kind, request.fence, request.names]
        : [kind, request.fence, request.names, request.keys];
    case 'add-shard':
      return [kind, request.number, request.founders];
    case 'host-shard':
    case 'unhost-shard':
      return [kind, request.number, request.node];
  }
}

export function placeRequestOf(
  kind: PlaceRequest['kind'],
  [first, second, third]: readonly PlainData[],
): PlaceRequest {
  switch (kind) {
    case 'place':
      return { kind, name: textIn(first), among: listIn(second).map(countIn), near: textIn(third) };
    case 'unplace':
      return { kind, name: textIn(first), version: countIn(second) };
    case 'where':
      return { kind, name: textIn(first) };
    case 'barrier':
    case 'shard-map':
      return { kind };
    case 'missing':
      return {
        kind,
        fence: countIn(first),
        names: listIn(second).map(textIn),
        keys: third === undefined ? [] : listIn(third).map(textIn),
      };
    case 'add-shard':
      return { kind, number: countIn(first), founders: listIn(second).map(textIn) };
    case 'host-shard':
    case 'unhost-shard':
      return { kind, number: countIn(first), node: textIn(second) };
  }
}

export function placeData(place: QueuePlace | undefined): PlainData {
  return place === undefined ? null : [place.shard, place.version];
}

export function placeIn(data: PlainData): QueuePlace {
  const [shard, version] = listIn(data);
  return { shard: countIn(shard), version: countIn(version) };
}

export function placeOrNoneIn(data: PlainData): QueuePlace | undefined {
  return data === null ? undefined : placeIn(data);
}

export function namesIn(data: PlainData): readonly string[] {
  return listIn(data).map(textIn);
}

export function shardMapData(map: ShardMap): PlainData {
  return map.map(({ number, founders, hosts }) => [number, founders, hosts]);
}

export function shardMapIn(data: PlainData): ShardMap {
  return listIn(data).map((row) => {
    const [number, founders, hosts] = listIn(row);
    return {
      number: countIn(number),
      founders: listIn(founders).map(textIn),
      hosts: listIn(hosts).map(textIn),
    };
  });
}
