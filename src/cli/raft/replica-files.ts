/**
 * What the files of a replica say of it, for a broker that does not run: hard state, extent and
 * terms of the log, members, damage. Reads the log once, a piece at a time; changes nothing.
 *
 * It can mislead where a broker has the directory open: the last write may look torn then. What was
 * committed cannot be seen: a leader knows that, and tells it again after every start (Raft 5.4.2).
 */

import { type HardState, hardStateIn } from '#raft';
import { type Inspected, inspectLog, nodeFiles } from '#storage';
import { partDirectory } from '../../replica-folders.ts';
import { hasCommands, raftEvent } from '../dump/raft-entries.ts';
import {
  type StoredCheckpoint,
  type StoredMembers,
  storedCheckpoint,
} from './stored-checkpoint.ts';

export interface DamagedPart {
  readonly from: number;
  /** Undefined: where it ends is not known. */
  readonly through: number | undefined;
  readonly detail: string;
  /** Entries of it that came from a peer. */
  readonly repaired: number;
  /** A vote may be lost in it. */
  readonly hardStateUnsure: boolean;
}

export interface ReplicaFiles {
  readonly logId: string;
  /** Undefined: there is no manifest. */
  readonly clean: boolean | undefined;
  readonly hardState: HardState;
  readonly start: number;
  readonly last: number;
  readonly segments: number;
  readonly terms: readonly { readonly term: number; readonly firstIndex: number }[];
  /** The last ones that the log or the checkpoint has. */
  readonly members: StoredMembers | undefined;
  readonly checkpoint: StoredCheckpoint | string | undefined;
  readonly tornTail: string | undefined;
  readonly damaged: readonly DamagedPart[];
}

type Batch = Extract<Inspected, { kind: 'batch' }>;

const REPAIR_HEAD_BYTES = 16;
const TWO_32 = 2 ** 32;

/**
 * `directory`: the folder of a shard. Rejects with StorageError `unknown-format` where there is no
 * log.
 */
export async function replicaFiles(
  directory: string,
  progress: (bytes: number) => void,
): Promise<ReplicaFiles> {
  const files = nodeFiles();
  const path = await partDirectory(files, directory, 'log');
  let members: ReplicaFiles['members'];
  let head: Extract<Inspected, { kind: 'log' }> | undefined;
  let end: Extract<Inspected, { kind: 'decision' }> | undefined;
  const wantsPayload = (header: Batch['header']): boolean =>
    !hasCommands(header) && header.payloadLength > 0;
  for await (const event of inspectLog({
    files,
    path,
    isDirectory: true,
    wantsPayload,
    progress,
  })) {
    if (event.kind === 'log') head = event;
    if (event.kind === 'decision') end = event;
    if (event.kind !== 'batch' || event.payload === undefined) continue;
    const told = raftEvent(event.header, event.payload);
    if (told?.kind !== 'configuration') continue;
    const { index, rescue } = told;
    members = { index, members: told.members, ...(rescue === undefined ? {} : { rescue }) };
  }
  if (head === undefined || end === undefined) throw new Error('a log ended without a word');
  const { decision } = end;
  const { lastIndex, hardState } = decision.end;
  const start = head.manifest?.start ?? 1;
  const checkpoint = await storedCheckpoint(await partDirectory(files, directory, 'records'));
  const inCheckpoint = typeof checkpoint === 'object' ? checkpoint.members : undefined;
  const repairs = await repairsOf(await partDirectory(files, directory, 'repairs'));
  return {
    logId: head.manifest?.logId ?? '',
    clean: head.manifest?.clean,
    hardState: hardStateIn(hardState),
    start,
    last: lastIndex,
    segments: decision.segments.length,
    terms: decision.epochs.starts.map(({ epoch, firstIndex }) => ({ term: epoch, firstIndex })),
    members: laterOf(members, inCheckpoint),
    checkpoint,
    tornTail: decision.cut?.detail,
    damaged: decision.faulty.map(({ from, through, detail, segmentId, hardStateUnsure }) => ({
      from,
      through,
      detail,
      hardStateUnsure,
      repaired: repairs.filter(
        ({ segment, index }) =>
          segment === segmentId && index >= from && index <= (through ?? Number.MAX_SAFE_INTEGER),
      ).length,
    })),
  };
}

function laterOf(
  one: ReplicaFiles['members'],
  other: ReplicaFiles['members'],
): ReplicaFiles['members'] {
  if (one === undefined || other === undefined) return one ?? other;
  return one.index >= other.index ? one : other;
}

interface Repaired {
  readonly segment: number;
  readonly index: number;
}

/** raft/host/repaired-entries.ts has the layout. Empty where nothing was ever repaired. */
async function repairsOf(path: string): Promise<Repaired[]> {
  const files = nodeFiles();
  const names = await files.list(path).catch((): string[] => []);
  if (names.length === 0) return [];
  const found: Repaired[] = [];
  const wantsPayload = hasCommands;
  for await (const event of inspectLog({ files, path, isDirectory: true, wantsPayload })) {
    if (event.kind !== 'batch') continue;
    const { payload } = event;
    if (payload === undefined || payload.length < REPAIR_HEAD_BYTES) continue;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const index = view.getUint32(12, true) * TWO_32 + view.getUint32(8, true);
    found.push({ segment: view.getUint32(4, true), index });
  }
  return found;
}
