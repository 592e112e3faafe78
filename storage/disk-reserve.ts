/**
 * The share of the disk that publishes may not use, so that settlements, deletions and checkpoints
 * still find room: a full disk refuses what fills it and never what frees space
 * (docs/decisions/0002).
 *
 * Two means. A limit: where free bytes fall below the reserve, `state` is `inside-reserve`, and
 * the shard refuses publishes; the log goes on writing everything else. And a file of zeros,
 * because other programs know nothing of our limit: it is part of the reserve, and is emptied when
 * the disk is truly out, so that the log's next zeros find room. It is filled again, piece by
 * piece, when space is back. All by itself.
 *
 * It must never be the reason for a failure: an error of the file or of `statfs` counts as "inside
 * the reserve", never as more. A crash may leave the file at any length; `open` takes it as it is.
 *
 * Invariant: reserve = what lies free + what the file holds, as of the last refresh. Free bytes
 * are counted down by `spent` between two refreshes.
 */
import { join } from 'node:path';

import { StorageError } from './errors.ts';
import type { Files, OpenFile } from './files.ts';
import type { Limit } from './limits.ts';

export type ReserveState = 'ok' | 'inside-reserve';

export interface DiskReserveOptions {
  readonly files: Files;
  /** A folder on the disk to watch; the reserve file lies in it. */
  readonly directory: string;
  /** The least that an automatic reserve is: two segments. */
  readonly leastBytes: number;
  /** Default: 5% of the disk or 1 GiB, the smaller one, and at least `leastBytes`. */
  readonly reserveBytes?: number;
  /** How much of it lies in the file. Default: 64 MiB, at most half of the reserve. */
  readonly fileBytes?: number;
  /**
   * Milliseconds between two looks at the disk; five times as long while nothing is `spent`, the
   * disk looks as before and there is room. 0: only when `refresh` is called.
   */
  readonly refreshMs?: number;
  readonly onChange: (state: ReserveState, space: ReserveSpace) => void;
}

export interface ReserveSpace {
  readonly totalBytes: number;
  /** Without what the file holds. */
  readonly freeBytes: number;
  readonly reserveBytes: number;
  readonly heldBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const RESERVE_LIMITS = {
  reserveBytes: { min: 128 * KIB, max: 1024 * 1024 * MIB, default: 1024 * MIB },
  leastBytes: { min: 8 * KIB, max: 2048 * MIB, default: 128 * MIB },
  fileBytes: { min: 64 * KIB, max: 1024 * MIB, default: 64 * MIB },
  refreshMs: { min: 0, max: 60_000, default: 200 },
} as const satisfies Record<string, Limit>;

const FILE_NAME = 'reserve';
/** What `refreshMs` is multiplied by on a disk at rest: a look wakes two threads. */
const AT_REST = 5;
/** The file is filled by at most this much at each look, so that nobody waits behind it. */
const PIECE_BYTES = 4 * MIB;
const SHARE_OF_DISK = 0.05;
const AUTOMATIC_MAX_BYTES = 1024 * MIB;

export class DiskReserve {
  readonly #files: Files;
  readonly #directory: string;
  readonly #reserveBytes: number;
  readonly #fileBytes: number;
  readonly #onChange: DiskReserveOptions['onChange'];
  readonly #totalBytes: number;
  #file: OpenFile | undefined;
  #held = 0;
  #free: number;
  #state: ReserveState = 'ok';
  /**
   * Somebody met ENOSPC: no word of free bytes is believed until the file could be filled again.
   */
  #proofWanted = false;
  #releaseNow = false;
  #refreshing: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Since the last look somebody spent, or that one found something else than the one before. */
  #isMoving = false;
  #closed = false;

  /**
   * Never rejects for want of space. Rejects with `out-of-range` where a number is out of its
   * range or the reserve would be the whole disk.
   */
  static async open(options: DiskReserveOptions): Promise<DiskReserve> {
    const { files, directory } = options;
    const refreshMs = checked('refreshMs', options.refreshMs);
    const reserve = new DiskReserve(options, await files.space(directory));
    await reserve.refresh();
    if (refreshMs > 0) reserve.#lookAfter(refreshMs);
    return reserve;
  }

  private constructor(
    options: DiskReserveOptions,
    space: { readonly freeBytes: number; readonly totalBytes: number },
  ) {
    this.#files = options.files;
    this.#directory = options.directory;
    this.#onChange = options.onChange;
    this.#totalBytes = space.totalBytes;
    this.#free = space.freeBytes;
    this.#reserveBytes =
      options.reserveBytes === undefined
        ? automaticReserve(checked('leastBytes', options.leastBytes), space.totalBytes)
        : checked('reserveBytes', options.reserveBytes);
    if (this.#reserveBytes >= space.totalBytes) {
      throw new StorageError(
        'out-of-range',
        `a reserve of ${this.#reserveBytes} bytes leaves nothing of a disk of ${space.totalBytes}`,
      );
    }
    this.#fileBytes = Math.min(
      checked('fileBytes', options.fileBytes),
      Math.floor(this.#reserveBytes / 2),
    );
  }

  get state(): ReserveState {
    return this.#state;
  }

  get space(): ReserveSpace {
    return {
      totalBytes: this.#totalBytes,
      freeBytes: this.#free,
      reserveBytes: this.#reserveBytes,
      heldBytes: this.#held,
    };
  }

  /** Bytes that the caller took since the last look; makes the state right between two looks. */
  spent(bytes: number): void {
    this.#isMoving = true;
    this.#free = Math.max(0, this.#free - bytes);
    this.#decide();
  }

  /**
   * Somebody met ENOSPC, whatever statfs says: quotas and lazy frees lie. Gives up the file, and
   * stays inside the reserve until the whole file could be written again.
   */
  noteFull(): void {
    this.#proofWanted = true;
    this.#releaseNow = true;
    this.#decide();
    void this.refresh();
  }

  /** Looks at the disk, then gives up or fills the file. A call while one runs shares it. */
  refresh(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = undefined;
      if (this.#releaseNow) void this.refresh();
    });
    return this.#refreshing;
  }

  /** The file stays: its space is held while the broker is down, too. Again: nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#refreshing;
    await this.#file?.close();
  }

  #lookAfter(refreshMs: number): void {
    const isAtRest = !this.#isMoving && this.#state === 'ok' && this.#held === this.#fileBytes;
    this.#isMoving = false;
    const look = async (): Promise<void> => {
      const before = this.#free;
      await this.refresh();
      this.#isMoving ||= this.#free !== before;
      if (!this.#closed) this.#lookAfter(refreshMs);
    };
    this.#timer = setTimeout(() => void look(), isAtRest ? refreshMs * AT_REST : refreshMs).unref();
  }

  async #look(): Promise<void> {
    const releaseNow = this.#releaseNow;
    this.#releaseNow = false;
    if (this.#file === undefined) await this.#openFile();
    const known = await this.#measure();
    this.#decide();
    if (!known && !releaseNow) return;
    const out = this.#free < this.#outBytes();
    if (releaseNow || (out && this.#held > 0)) await this.#release();
    else if (this.#held < this.#fileBytes) await this.#fill();
    this.#decide();
  }

  /** False where the disk would not say: then nothing counts as free. */
  async #measure(): Promise<boolean> {
    try {
      this.#free = (await this.#files.space(this.#directory)).freeBytes;
      return true;
    } catch {
      this.#free = 0;
      return false;
    }
  }

  /** A little more than the reserve is wanted to leave it, so that the state does not flap. */
  #decide(): void {
    const available = this.#free + this.#held;
    const leave = this.#reserveBytes + Math.ceil(this.#reserveBytes / 16);
    const limit = this.#state === 'ok' ? this.#reserveBytes : leave;
    const next = this.#proofWanted || available < limit ? 'inside-reserve' : 'ok';
    if (next === this.#state) return;
    this.#state = next;
    this.#onChange(next, this.space);
  }

  /** Below this much the next zeros of the log may not find room. */
  #outBytes(): number {
    return Math.floor(this.#fileBytes / 4);
  }

  async #openFile(): Promise<void> {
    const path = join(this.#directory, FILE_NAME);
    const options = { access: 'write', durability: 'on-sync' } as const;
    try {
      this.#file = await this.#files.open(path, { ...options, create: 'never' });
      const size = await this.#file.size();
      if (size > this.#fileBytes) await this.#file.truncate(this.#fileBytes);
      this.#held = Math.min(size, this.#fileBytes);
    } catch {
      try {
        this.#file = await this.#files.open(path, { ...options, create: 'exclusive' });
        await this.#files.syncDirectory(this.#directory);
      } catch {
        // A disk without room for a name has no room for a reserve: the limit alone holds.
        this.#file = undefined;
      }
    }
  }

  async #release(): Promise<void> {
    // Counted as gone whether it works or not: never more than there is.
    this.#held = 0;
    try {
      await this.#file?.truncate(0);
      await this.#file?.sync();
    } catch {
      return;
    }
    await this.#measure();
  }

  /** One piece, and only where it leaves more than the reserve. */
  async #fill(): Promise<void> {
    const file = this.#file;
    const bytes = Math.min(PIECE_BYTES, this.#fileBytes - this.#held);
    if (file === undefined || this.#free + this.#held < this.#reserveBytes + bytes) return;
    const zeros = new Uint8Array(bytes);
    try {
      for (let at = 0; at < bytes;) {
        at += await file.write(zeros.subarray(at), this.#held + at);
      }
      await file.sync();
      this.#held += bytes;
      if (this.#held === this.#fileBytes) this.#proofWanted = false;
      this.#free = Math.max(0, this.#free - bytes);
    } catch {
      // There was no room, whatever statfs said. What was written of the piece is written over
      // later.
      this.#proofWanted = true;
    }
  }
}

function automaticReserve(leastBytes: number, totalBytes: number): number {
  const share = Math.min(Math.floor(totalBytes * SHARE_OF_DISK), AUTOMATIC_MAX_BYTES);
  return Math.max(share, leastBytes);
}

function checked(name: keyof typeof RESERVE_LIMITS, value: number | undefined): number {
  const limit: Limit = RESERVE_LIMITS[name];
  const chosen = value ?? limit.default;
  if (Number.isSafeInteger(chosen) && chosen >= limit.min && chosen <= limit.max) return chosen;
  throw new StorageError(
    'out-of-range',
    `${name} is ${chosen}; it must be a whole number from ${limit.min} to ${limit.max}`,
  );
}
