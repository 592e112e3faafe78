/** What the traffic between nodes costs at most. Every number that bounds it stands here. */

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** Versions of the protocol that this node speaks. */
export const VERSION_OLDEST = 2;
export const VERSION_NEWEST = 2;

/** A frame holds at most one message of the largest size that may be configured, and its head. */
export const FRAME_BYTES_MAX = 65 * MIB;
/** Frames that wait are joined into one batch up to this; one alone may be larger. */
export const BATCH_BYTES = 256 * KIB;
export const BATCH_FRAMES_MAX = 4_096;
/** A batch as it is received: nearly full, and then one more frame; and its head. */
export const BATCH_BYTES_MAX = FRAME_BYTES_MAX + BATCH_BYTES + 64;
/** A frame up to this leaves behind the callback that sent it, a larger one with its turn. */
export const SENT_AT_ONCE_BYTES_MAX = 16 * KIB;
/** Opaque bytes on a link go in parts of this, so that a part fills a batch. */
export const PART_BYTES = BATCH_BYTES - 64;
export const HELLO_BYTES_MAX = 1 * KIB;
/** Of a refusal: its text, in characters of ASCII. */
export const REFUSAL_TEXT_MAX = 400;
/** The largest batch that the port of a node reads: one of a link. The first one is a hello. */
export const REQUEST_BYTES_MAX = BATCH_BYTES + HELLO_BYTES_MAX;

/** A term that no cluster reaches: with an election each 10 ms in 89,000 years. */
export const TERM_MAX = 2 ** 48 - 1;
/** `<node id>`, or `<node id>+<number>`. */
export const SERVER_ID_BYTES_MAX = 80;
export const ENTRIES_MAX = 65_536;
/** Of the name of a log. */
export const INCARNATION_BYTES_MAX = 64;
export const CONFIGURATION_BYTES_MAX = 64 * KIB;

/** Heartbeats, votes and acknowledgements that wait for one node; then the oldest goes. */
export const CONTROL_FRAMES_MAX = 1_024;
export const CONTROL_BYTES_MAX = 1 * MIB;
/** Bulk that waits for one node; its bytes are configured. */
export const BULK_FRAMES_MAX = 8_192;
/**
 * What a stream keeps to write its batches into: it grows up to what an append of a peer that
 * catches up needs, with the heads of its entries. Such appends go alone, one behind the other.
 */
export const ROOM_BYTES_MIN = 4 * KIB;
export const ROOM_BYTES_KEPT = MIB + 128 * KIB;
/** What a thread reads at once into the place that its connections share. */
export const READ_BYTES = 64 * KIB;
/** A batch is given to its connection in pieces of this: TLS takes each in one go, in 1 to 2 ms. */
export const WRITE_BYTES_MAX = MIB;

/** From the wish for a stream to the answer to the hello. */
export const CONNECT_MS_MAX = 5_000;
export const HANDSHAKE_MS_MAX = 5_000;
export const HELLO_MS_MAX = 5_000;
/**
 * A sign of life each so often where nothing else was said, and whoever heard nothing so many times
 * takes the other for dead: after 7.5 to 10 s.
 */
export const PULSE_MS = 2_500;
export const PULSES_MISSED_MAX = 3;
/** For what was written before an end, and for the end of the other side. */
export const LAST_WORDS_MS = 500;
/** Waits between streams double from the first to the last; each is drawn from its upper half. */
export const RECONNECT_MS_MIN = 50;
export const RECONNECT_MS_MAX = 2_000;
/** The longest one where nobody listens: that costs nobody anything. */
export const CONNECT_AGAIN_MS_MAX = 500;
/** So long a connection must have held for the next wait to be a short one again. */
export const STEADY_MS = 1_000;

/** The streams of 32 nodes, old ones that were not closed yet, and some in the handshake. */
export const CONNECTIONS_MAX = 256;

export const REFUSAL_LOG_INTERVAL_MS = 10_000;
