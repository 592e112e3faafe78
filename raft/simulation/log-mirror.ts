/**
 * What one replica's log holds, as the checks keep it: terms and digests from its start on, and how
 * far it is durable. Fed by what the replica gives to its disk, never by what it believes.
 */

export interface MirrorEntry {
  readonly index: number;
  readonly term: number;
  /** Of kind and payload. */
  readonly digest: number;
  /** Of a configuration. */
  readonly voters?: readonly string[];
}

/** Of an entry that went bad: its replica does not know what it was. */
export const UNKNOWN_TERM = -1;

interface MirroredConfiguration {
  readonly index: number;
  readonly term: number;
  readonly voters: readonly string[];
}

const FOUNDING_INDEX = 1;

export class LogMirror {
  #before: MirrorEntry = { index: 0, term: 0, digest: 0 };
  #entries: MirrorEntry[] = [];
  #durable = 0;
  /** What stood where there is damage now. */
  readonly #lost = new Map<number, MirrorEntry>();
  /** Ascending; the first is that of the state below the log. */
  #configurations: MirroredConfiguration[] = [];

  /** First index that is kept. */
  get start(): number {
    return this.#before.index + 1;
  }

  get last(): number {
    return this.#before.index + this.#entries.length;
  }

  get durable(): number {
    return this.#durable;
  }

  /** Known from the entry before the start on. */
  at(index: number): MirrorEntry | undefined {
    return index === this.#before.index ? this.#before : this.#entries[index - this.start];
  }

  /** Of the newest configuration that it holds (thesis 4.1); undefined: none is known. */
  get voters(): readonly string[] | undefined {
    return this.#configurations.at(-1)?.voters;
  }

  /** Configurations of that term behind that index; the entry that names the founders is none. */
  changesBehind(index: number, term: number): number {
    const behind = Math.max(index, FOUNDING_INDEX);
    let count = 0;
    for (const one of this.#configurations) {
      if (one.index > behind && one.term === term) count += 1;
    }
    return count;
  }

  /** What stands there, or stood there before it went bad. */
  everAt(index: number): MirrorEntry | undefined {
    return this.#lost.get(index) ?? this.at(index);
  }

  wentBad(indexes: readonly number[]): void {
    for (const index of indexes) {
      const entry = this.#entries[index - this.start];
      if (entry === undefined) continue;
      this.#lost.set(index, entry);
      this.#entries[index - this.start] = { index, term: UNKNOWN_TERM, digest: 0 };
    }
  }

  repaired(entry: MirrorEntry): void {
    this.#lost.delete(entry.index);
    this.#entries[entry.index - this.start] = entry;
  }

  /** Takes entries without gaps; what stood at and behind the first of them is gone. */
  write(entries: readonly MirrorEntry[]): void {
    for (const entry of entries) {
      if (entry.index < this.start || entry.index > this.last + 1) {
        throw new Error(`entry ${entry.index} is outside of [${this.start}, ${this.last + 1}]`);
      }
      if (entry.index <= this.last) this.truncateSuffix(entry.index - 1);
      this.#entries.push(entry);
      const { index, term, voters } = entry;
      if (voters !== undefined) this.#configurations.push({ index, term, voters });
    }
  }

  truncateSuffix(lastKept: number): void {
    this.#entries.length = Math.min(
      this.#entries.length,
      Math.max(0, lastKept - this.#before.index),
    );
    this.#durable = Math.min(this.#durable, lastKept);
    for (const index of this.#lost.keys()) if (index > lastKept) this.#lost.delete(index);
    while ((this.#configurations.at(-1)?.index ?? 0) > lastKept) this.#configurations.pop();
  }

  truncatePrefix(firstKept: number): void {
    if (firstKept <= this.start) return;
    const before = this.at(firstKept - 1);
    if (before === undefined) throw new Error(`the log ends before ${firstKept - 1}`);
    this.#entries.splice(0, firstKept - this.start);
    this.#before = before;
  }

  /** The log starts behind this entry and holds nothing, and nothing of it is durable yet. */
  restart(before: MirrorEntry, voters: readonly string[]): void {
    this.#before = before;
    this.#entries = [];
    this.#lost.clear();
    this.#durable = 0;
    this.#configurations = [{ index: 0, term: 0, voters }];
  }

  madeDurable(last: number): void {
    this.#durable = Math.max(this.#durable, Math.min(last, this.last));
  }
}
