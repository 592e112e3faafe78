/**
 * The commands of names and of the shard map, as bytes; the others of their kind are in
 * rare-commands.ts.
 *
 * ```
 *  21 place queue    name text16 | near text16 | shards u8 | shard u8 for each
 *  22 unplace queue  version u64 | name text16
 *  23 fence names    version u64
 *  24 add shard      shard u8 | founders u8 | node text16 for each
 *  25 host shard     shard u8 | node text16
 *  26 unhost shard   shard u8 | node text16
 * ```
 *
 * Whoever writes one has seen to it that numbers of shards are below `SHARDS_MAX`.
 */

import { SHARDS_MAX } from '../machine/ids.ts';
import type { PlaceCommand } from '../machine/place-commands.ts';
import { CommandKind } from './command-kinds.ts';
import { CodecError, type WireReader, type WireWriter } from './wire.ts';

/** What stands behind the kind. */
export function writePlaceCommand(writer: WireWriter, command: PlaceCommand): void {
  switch (command.kind) {
    case 'place-queue':
      writer.text16(command.name);
      writer.text16(command.near);
      writer.u8(command.among.length);
      for (const shard of command.among) writer.u8(shard);
      return;
    case 'unplace-queue':
      writer.u64(command.version);
      writer.text16(command.name);
      return;
    case 'fence-names':
      writer.u64(command.version);
      return;
    case 'add-shard':
      writer.u8(command.number);
      writer.u8(command.founders.length);
      for (const node of command.founders) writer.text16(node);
      return;
    case 'host-shard':
    case 'unhost-shard':
      writer.u8(command.number);
      writer.text16(command.node);
  }
}

/** The reader stands behind the kind; undefined: it is none of these. */
export function readPlaceCommand(reader: WireReader, kind: number): PlaceCommand | undefined {
  switch (kind) {
    case CommandKind.placeQueue: {
      const name = reader.text16();
      const near = reader.text16();
      return { kind: 'place-queue', name, among: readMany(reader, readShard), near };
    }
    case CommandKind.unplaceQueue: {
      const version = reader.u64();
      return { kind: 'unplace-queue', name: reader.text16(), version };
    }
    case CommandKind.fenceNames:
      return { kind: 'fence-names', version: reader.u64() };
    case CommandKind.addShard: {
      const number = readShard(reader);
      return { kind: 'add-shard', number, founders: readMany(reader, () => reader.text16()) };
    }
    case CommandKind.hostShard:
      return { kind: 'host-shard', number: readShard(reader), node: reader.text16() };
    case CommandKind.unhostShard:
      return { kind: 'unhost-shard', number: readShard(reader), node: reader.text16() };
    default:
      return undefined;
  }
}

function readShard(reader: WireReader): number {
  const shard = reader.u8();
  if (shard >= SHARDS_MAX) throw new CodecError('bad-value', `there is no shard ${shard}`);
  return shard;
}

/** As many as the count says and the bytes hold: each takes one at least. */
function readMany<T>(reader: WireReader, read: (reader: WireReader) => T): T[] {
  const count = reader.u8();
  if (count > SHARDS_MAX) throw new CodecError('bad-value', `a list of ${count}`);
  return Array.from({ length: count }, () => read(reader));
}
