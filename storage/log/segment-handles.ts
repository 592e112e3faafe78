/** Counted read handles as the log has them: of its segments. */

import type { Hold, ReadHandles } from '../read-handles.ts';
import type { LogSegment } from './log-segment.ts';

export type SegmentHold = Hold<LogSegment>;
export type SegmentHandles = ReadHandles<LogSegment>;
