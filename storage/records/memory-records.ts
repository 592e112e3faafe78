/**
 * Records in memory, for simulators and tests: the same semantics as the adapter on a disk,
 * checksums and lock included, with a power cut.
 *
 * `MemoryRecords` is the disk; `open` is what a process does with it. After `crash` the stores
 * of before are dead (their calls never return), and the next `open` finds the last write that was
 * durable. A write under way is decided by `crash`'s argument. Never used by a broker.
 */
import { StorageError } from '../errors.ts';
import { openChecked } from './checked-record-store.ts';
import type { RawBatch, RawStore } from './raw-store.ts';
import type { RecordMend, RecordStore } from './record-store.ts';

const PAGE_RECORDS = 64;

type Contents = ReadonlyMap<string, Uint8Array>;

export class MemoryRecords {
  readonly #syncing: () => Promise<void>;
  #durable: Contents = new Map();
  /** What the disk would hold if the write under way were kept. */
  #underWay: Contents | undefined;
  #life = 0;
  #opened = false;
  #nextWriteFails: StorageError | undefined;

  /** `syncing` is awaited by each write before it is durable: where a simulator lets time pass. */
  constructor(syncing: () => Promise<void> = () => Promise.resolve()) {
    this.#syncing = syncing;
  }

  async open(mend?: RecordMend): Promise<RecordStore> {
    if (this.#opened) throw new StorageError('locked', 'record store in memory: opened twice');
    this.#opened = true;
    return openChecked(this.#rawStore(this.#life), mend);
  }

  /** The power goes. `keepUnderWay`: a write that had not returned is there all the same. */
  crash(keepUnderWay = false): void {
    if (keepUnderWay && this.#underWay !== undefined) this.#durable = this.#underWay;
    this.#underWay = undefined;
    this.#life += 1;
    this.#opened = false;
  }

  failNextWrite(error: StorageError): void {
    this.#nextWriteFails = error;
  }

  /** Changes stored bytes behind the store's back; `undefined` takes the record away. */
  damage(key: string, change: (stored: Uint8Array) => Uint8Array | undefined): void {
    const stored = this.#durable.get(key);
    if (stored === undefined) throw new Error(`no record ${key} to damage`);
    const contents = new Map(this.#durable);
    const damaged = change(stored.slice());
    if (damaged === undefined) contents.delete(key);
    else contents.set(key, damaged);
    this.#durable = contents;
  }

  #rawStore(life: number): RawStore {
    let closed = false;
    const assertOpen = (): void => {
      if (closed) throw new StorageError('closed', 'record store in memory: closed');
    };
    /** A process that lost its power says nothing any more. */
    const alive = async (): Promise<void> => {
      if (life !== this.#life) await new Promise<never>(() => undefined);
      assertOpen();
    };
    return {
      getMany: async (keys) => {
        await alive();
        return keys.map((key) => this.#durable.get(key)?.slice());
      },
      iterate: (from) => this.#pages(from, alive),
      batch: () => this.#batch(alive),
      close: async () => {
        await alive();
        closed = true;
        this.#opened = false;
      },
    };
  }

  async *#pages(
    from: string,
    alive: () => Promise<void>,
  ): AsyncGenerator<readonly (readonly [string, Uint8Array])[], void, void> {
    await alive();
    const contents = this.#durable;
    const first = Buffer.from(from);
    const keys = [...contents.keys()]
      .map((key) => ({ key, order: Buffer.from(key) }))
      .filter(({ order }) => Buffer.compare(order, first) >= 0)
      .toSorted((left, right) => Buffer.compare(left.order, right.order));
    for (let at = 0; at < keys.length; at += PAGE_RECORDS) {
      yield keys
        .slice(at, at + PAGE_RECORDS)
        .map(({ key }) => [key, (contents.get(key) as Uint8Array).slice()] as const);
      await alive();
    }
  }

  #batch(alive: () => Promise<void>): RawBatch {
    const changes = new Map<string, Uint8Array | undefined>();
    return {
      put: (key, bytes) => void changes.set(key, new Uint8Array(bytes)),
      delete: (key) => void changes.set(key, undefined),
      discard: () => changes.clear(),
      write: async () => {
        await alive();
        const contents = new Map(this.#durable);
        for (const [key, bytes] of changes) {
          if (bytes === undefined) contents.delete(key);
          else contents.set(key, bytes);
        }
        this.#underWay = contents;
        await this.#syncing();
        await alive();
        this.#underWay = undefined;
        const failure = this.#nextWriteFails;
        this.#nextWriteFails = undefined;
        if (failure !== undefined) throw failure;
        this.#durable = contents;
      },
    };
  }
}
