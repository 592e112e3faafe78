/**
 * What a checkpoint says of the group that its shard is in: the members in use at its index, and
 * before which index the replica may not serve (after a catch-up; else the checkpoint's own).
 * ```
 *  0                                       8                                      16
 *  +---------------------------------------+--------------------------------------+
 *  | index of the members' entry       u64 | serve from                       u64 | members (#raft)
 *  +---------------------------------------+--------------------------------------+
 * ```
 */

import { decodeConfiguration, encodeConfiguration } from '#raft';
import type { ConfigurationAt } from '#raft';
import { CodecError, readU64, writeU64 } from './wire.ts';

export interface KnownMembers {
  readonly configuration: ConfigurationAt;
  readonly serveFrom: number;
}

const HEAD_BYTES = 16;

export function encodeMembers({ configuration, serveFrom }: KnownMembers): Uint8Array {
  const members = encodeConfiguration(configuration.configuration);
  const bytes = new Uint8Array(HEAD_BYTES + members.length);
  writeU64(bytes, 0, configuration.index);
  writeU64(bytes, 8, serveFrom);
  bytes.set(members, HEAD_BYTES);
  return bytes;
}

export function decodeMembers(bytes: Uint8Array): KnownMembers {
  if (bytes.length < HEAD_BYTES) throw new CodecError('truncated', 'the members are cut off');
  const configuration = decodeConfiguration(bytes.subarray(HEAD_BYTES));
  return {
    configuration: { index: readU64(bytes, 0), configuration },
    serveFrom: readU64(bytes, 8),
  };
}
