/**
 * Retention by age and bytes: up to where the oldest messages of a queue go.
 *
 * Blocks of the marks go as wholes. A block goes by age when all of it is older than the bound, and
 * by bytes when what remains is still at or above the bound; a block of one message goes exactly.
 * So what is inside the bound stays, always; at most some of what is outside stays too, for the
 * second or the share of the bound that a block may be.
 */

import type { RetentionLimits } from './definitions.ts';
import { MARK_MS, type Mark, type Marks } from './marks.ts';
import type { RecordKey } from './record-data.ts';

/** Blocks that one step looks at; the next step goes on. */
const STEP_BLOCKS = 256;

export interface Kept {
  readonly queueId: number;
  readonly start: number;
  readonly nextOffset: number;
  /** Stored bytes of all messages that ever came. */
  readonly bytes: number;
  readonly retention: RetentionLimits;
  readonly now: number;
  /** The mark of a message that comes, if it makes one; its bytes count already. */
  readonly coming: Mark | undefined;
}

export interface RetentionStep {
  /** What lies below goes. */
  readonly start: number;
  /** The mark from which on marks are needed; to be dropped once `start` is in force. */
  readonly mark: number;
  /** When age has more to do; Infinity: when a message comes. */
  readonly checkAt: number;
}

interface Block {
  readonly from: number;
  /** The mark that it begins with; undefined: it is older than the marks. */
  readonly first: Mark | undefined;
  /** The mark behind it; undefined: it is the last one. */
  readonly end: Mark | undefined;
}

/** Undefined: keys were added; load them and ask again. The head of the marks is in memory. */
export function retentionStep(
  marks: Marks,
  kept: Kept,
  keys: RecordKey[],
): RetentionStep | undefined {
  const { queueId, nextOffset, retention, now } = kept;
  const range = marks.range(queueId);
  let start = kept.start;
  let index = range.first;
  for (let blocks = 0; start < nextOffset && index < range.end; blocks += 1) {
    const at = marks.mark(queueId, index, keys);
    if (at === undefined) return undefined;
    const isBefore = at.offset > start;
    const behind = isBefore ? index : index + 1;
    let end = isBefore ? at : marks.mark(queueId, behind, keys);
    if (end === undefined && behind < range.end) return undefined;
    if (end === undefined && range.upTo === nextOffset) end = kept.coming;
    const block = { from: start, first: isBefore ? undefined : at, end };
    const goesAt = retention.ageMs === 0 ? Infinity : newestOf(block) + retention.ageMs;
    // A block that ends below the start is behind us already: it was cut by other means.
    const isBehind = end !== undefined && end.offset <= start;
    if (!isBehind && goesAt > now && !goesByBytes(block, kept)) {
      return { start, mark: index, checkAt: goesAt };
    }
    // Of what came without marks nothing is known until there is one behind it.
    if (end === undefined) {
      const to = Math.max(start, Math.min(range.upTo, nextOffset));
      return { start: to, mark: index, checkAt: Infinity };
    }
    start = Math.max(start, end.offset);
    index = behind;
    if (blocks === STEP_BLOCKS) return { start, mark: index, checkAt: now };
  }
  return { start, mark: index, checkAt: Infinity };
}

/** No message of the block is newer. */
function newestOf({ first, end }: Block): number {
  const byFirst = first === undefined ? Infinity : first.stamp + MARK_MS - 1;
  return Math.min(byFirst, end === undefined ? Infinity : end.stamp);
}

/** Is the bound kept also without the block? The newest block stays: it may be one message. */
function goesByBytes({ from, first, end }: Block, { bytes, retention }: Kept): boolean {
  if (retention.bytes === 0 || end === undefined) return false;
  if (bytes - end.bytes >= retention.bytes) return true;
  if (first === undefined || first.offset !== from || end.offset - from !== 1) return false;
  return bytes - first.bytes > retention.bytes;
}
