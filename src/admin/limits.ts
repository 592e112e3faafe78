/** What the admin socket costs at most. Every number that bounds it stands here. */

export interface AdminLimits {
  /** Requests that are worked on at a time; further ones are refused as busy. */
  readonly requestsMax: number;
  /** Connections at a time; further ones are closed at once. */
  readonly connectionsMax: number;
  /** How long a request may take, whatever deadline its caller gave. */
  readonly requestMs: number;
  /** A connection without a request is closed after so long. */
  readonly idleMs: number;
}

export const ADMIN_DEFAULTS: AdminLimits = {
  requestsMax: 16,
  connectionsMax: 64,
  requestMs: 60_000,
  idleMs: 300_000,
};

/** A definition has at most 64 topics of 64 KiB. */
export const REQUEST_BYTES_MAX = 6 * 2 ** 20;

/**
 * A page ends when it has grown to this, so that its last entry, at most a message of 8 MiB with
 * its properties, still fits `REPLY_BYTES_MAX`.
 */
export const PAGE_BYTES = 2 ** 20;
export const REPLY_BYTES_MAX = 16 * 2 ** 20;

/** Queues that are asked for at a time, and messages. */
export const LIST_MAX = 1_000;
export const PEEK_MAX = 1_000;
/** Of a damaged queue so many ranges are told. */
export const DAMAGED_MAX = 10_000;
