/**
 * Brings records from the store into the machine, for the apply loop, the dispatcher and the
 * checkpoint at once. While any load is under way nothing may be evicted (`busy`): a record that
 * was loaded, changed, saved and evicted meanwhile would come back older than it is. A resident
 * record is left as it is by the machine, so that two loads of one key do no harm.
 *
 * A record that is damaged rejects with the store's `StorageError`; the shard then fails as with
 * any failed store.
 */

import type { RecordStore } from '#storage';
import type { Machine } from '../machine/machine.ts';
import type { RecordKey } from '../machine/record-data.ts';
import { decodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';

/** So many are read at a time: a start names all definitions at once, and they may be large. */
const TOGETHER_MAX = 64;

type LoadedStore = Pick<RecordStore, 'get' | 'getMany' | 'iterate'>;

export class RecordLoader {
  readonly #store: LoadedStore;
  readonly #machine: Machine;
  #underWay = 0;
  #loaded = 0;

  constructor(store: LoadedStore, machine: Machine) {
    this.#store = store;
    this.#machine = machine;
  }

  get busy(): boolean {
    return this.#underWay > 0;
  }

  /** Records brought in so far. */
  get loaded(): number {
    return this.#loaded;
  }

  /**
   * Loads what `missing` names until it names nothing; the last call of `missing` is in the turn of
   * the end.
   */
  async until(missing: () => readonly RecordKey[]): Promise<void> {
    for (let keys = missing(); keys.length > 0; keys = missing()) {
      this.#underWay++;
      try {
        for (let at = 0; at < keys.length; at += TOGETHER_MAX) {
          await this.#load(keys.slice(at, at + TOGETHER_MAX));
        }
      } finally {
        this.#underWay--;
      }
    }
  }

  async #load(keys: readonly RecordKey[]): Promise<void> {
    const values = await this.#store.getMany(keys);
    for (const [at, key] of keys.entries()) {
      const value = values[at];
      // The machine's data is plain data without booleans and null; it checks what it is given.
      const data = value === undefined ? undefined : decodeRecord(value);
      this.#machine.load(key, data as Parameters<Machine['load']>[1]);
    }
    this.#loaded += keys.length;
  }

  /**
   * Behind `prefix`, the names of records of the last checkpoint: one page of them, behind this
   * name ('': from the first on). None: there are no more.
   */
  async namesBehind(prefix: string, name: string): Promise<readonly string[]> {
    const behind = name === '' ? undefined : `${prefix}${name}`;
    for await (const page of this.#store.iterate(prefix, behind)) {
      return page.map(({ key }) => key.slice(prefix.length));
    }
    return [];
  }

  /** A record that is none of the machine's. */
  async one(key: string): Promise<PlainData | undefined> {
    const value = await this.#store.get(key);
    return value === undefined ? undefined : decodeRecord(value);
  }
}
