/**
 * Memory in which packets are put together that are not whole yet, used again from one to the next
 * on this thread: floods of large packets would have V8 look through its whole heap for the sake of
 * what each of them grew out of.
 *
 * Nothing of it is ever handed on: the last piece of a packet, which is, has memory of its own. So
 * whoever gives a room back is the only one that knew it. One that is not given back is garbage.
 * Bounded by `ROOMS_KEPT` of each size from `ROOM_BYTES_MIN` to `ROOM_BYTES_MAX`, 4 MiB in all.
 */

import { Buffer } from 'node:buffer';

/** A body up to this size is allocated at once; a larger one grows with what arrives. */
const ROOM_BYTES_MIN = 16_384;
const ROOM_BYTES_MAX = 1 << 20;
const ROOMS_KEPT = 2;

/** By their size, which is a power of two. */
const rooms = new Map<number, Buffer[]>();
for (let size = ROOM_BYTES_MIN; size <= ROOM_BYTES_MAX; size *= 2) rooms.set(size, []);

/** How large the room for so many bytes is. */
export function roomBytes(bytes: number): number {
  let size = ROOM_BYTES_MIN;
  while (size < bytes) size *= 2;
  return size;
}

/** Of a size that `roomBytes` gave; whatever stands in it. */
export function takeRoom(size: number): Buffer {
  return rooms.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}

/** One that was taken, and that nobody uses any more. */
export function giveRoom(room: Buffer): void {
  const kept = rooms.get(room.length);
  if (kept !== undefined && kept.length < ROOMS_KEPT) kept.push(room);
}
