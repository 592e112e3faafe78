/**
 * The kinds of commands as bytes, and how one goes from command to command without decoding them.
 *
 * ```
 *  0                                       4         5
 *  +---------------------------------------+---------+----------------------------
 *  | length of the command, this included  | kind    | by kind (codec.ts, rare-commands.ts)
 *  +---------------------------------------+---------+----------------------------
 * ```
 *
 * A kind is never used again for something else: logs hold it. docs/formats/commands.md has all.
 */

import { CodecError, readU32 } from './wire.ts';

export const CommandKind = {
  enqueue: 1,
  void: 2,
  settle: 3,
  openStream: 4,
  declareQueue: 5,
  updateQueue: 6,
  deleteQueue: 7,
  setVersion: 8,
  transfer: 9,
  settleRange: 10,
  createGroup: 11,
  deleteGroup: 12,
  seekGroup: 13,
  idleGroup: 14,
  retain: 15,
  fireTimers: 16,
  skipIntent: 17,
  moveRange: 18,
  release: 19,
  endSession: 20,
  placeQueue: 21,
  unplaceQueue: 22,
  fenceNames: 23,
  addShard: 24,
  hostShard: 25,
  unhostShard: 26,
  routeIntent: 27,
  endRoute: 28,
  takeTransfer: 29,
  claimSession: 30,
  changeSession: 31,
  halveSession: 32,
  finishSession: 33,
  leaveSession: 34,
  resumeSession: 35,
  deleteSession: 36,
  receiveSession: 37,
  endWill: 38,
  replaySession: 39,
  chooseSession: 40,
} as const;

/** Length and kind. */
export const COMMAND_HEADER_BYTES = 5;

/** Where the command at `at` ends; checked against the end of `bytes`. */
export function commandEnd(bytes: Uint8Array, at: number): number {
  if (at + COMMAND_HEADER_BYTES > bytes.length) {
    throw new CodecError('truncated', 'the bytes end within a command');
  }
  const length = readU32(bytes, at);
  if (length < COMMAND_HEADER_BYTES)
    throw new CodecError('bad-length', `a command of ${length} bytes`);
  const end = at + length;
  if (end > bytes.length) throw new CodecError('truncated', 'the bytes end within a command');
  return end;
}

export function commandKind(bytes: Uint8Array, at: number): number {
  return bytes[at + 4] as number;
}

/** The value that a code stands for. */
export function coded<T>(codes: readonly T[], code: number | undefined): T {
  const value = codes[code ?? -1];
  if (value === undefined)
    throw new CodecError('bad-value', `the code ${code ?? 'none'} is unknown`);
  return value;
}
