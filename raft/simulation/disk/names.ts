/**
 * The names of the simulated disk: which path is which file or folder, as seen and as durable.
 *
 * Creations, renames and removals are pending until their folder is synced; a power cut keeps or
 * loses each of them by itself (a rename as a whole). What lies in a folder whose own creation was
 * lost is gone.
 */
import type { Inode } from './inode.ts';
import type { Random } from '../random.ts';

export const DIRECTORY = 'directory';
export type Entry = Inode | typeof DIRECTORY;

interface PendingName {
  readonly directory: string;
  /** The call that made it has returned; only then does a sync of the folder cover it. */
  returned: boolean;
  readonly apply: (names: Map<string, Entry>) => void;
}

export class Names {
  #seen = new Map<string, Entry>([['/', DIRECTORY]]);
  #kept = new Map<string, Entry>([['/', DIRECTORY]]);
  #pending: PendingName[] = [];

  get(path: string): Entry | undefined {
    return this.#seen.get(path);
  }

  children(directory: string): string[] {
    const names: string[] = [];
    for (const path of this.#seen.keys()) {
      if (path !== '/' && parentOf(path) === directory)
        names.push(path.slice(path.lastIndexOf('/') + 1));
    }
    return names.toSorted();
  }

  inodes(): Set<Inode> {
    const found = new Set<Inode>();
    for (const entry of this.#seen.values()) if (entry !== DIRECTORY) found.add(entry);
    return found;
  }

  create(path: string, entry: Entry): PendingName {
    return this.#change(parentOf(path), (names) => names.set(path, entry));
  }

  rename(from: string, to: string): PendingName {
    if (parentOf(from) !== parentOf(to)) throw new Error('rename across folders is not simulated');
    const entry = this.#seen.get(from) as Entry;
    return this.#change(parentOf(to), (names) => {
      if (names.get(from) === entry) names.delete(from);
      names.set(to, entry);
    });
  }

  remove(path: string): PendingName {
    const entry = this.#seen.get(path);
    return this.#change(parentOf(path), (names) => {
      if (names.get(path) === entry) names.delete(path);
    });
  }

  coveredBySync(directory: string): PendingName[] {
    return this.#pending.filter((change) => change.directory === directory && change.returned);
  }

  makeDurable(changes: readonly PendingName[]): void {
    const covered = new Set(changes);
    for (const change of this.#pending) if (covered.has(change)) change.apply(this.#kept);
    this.#pending = this.#pending.filter((change) => !covered.has(change));
  }

  /** A lost file: gone now and after every power cut. */
  lose(path: string): void {
    this.#seen.delete(path);
    this.#kept.delete(path);
    this.#pending = this.#pending.filter((change) => {
      const probe = new Map<string, Entry>();
      change.apply(probe);
      return !probe.has(path);
    });
  }

  /** Another disk, with nothing on it. */
  wipe(): void {
    this.#seen = new Map([['/', DIRECTORY]]);
    this.#kept = new Map([['/', DIRECTORY]]);
    this.#pending = [];
  }

  crash(random: Random, keep: number): void {
    for (const change of this.#pending) if (random.chance(keep)) change.apply(this.#kept);
    for (const path of this.#kept.keys()) {
      if (path !== '/' && !this.#reachable(path)) this.#kept.delete(path);
    }
    this.#seen = new Map(this.#kept);
    this.#pending = [];
  }

  #reachable(path: string): boolean {
    for (let parent = parentOf(path); parent !== '/'; parent = parentOf(parent)) {
      if (this.#kept.get(parent) !== DIRECTORY) return false;
    }
    return true;
  }

  #change(directory: string, apply: PendingName['apply']): PendingName {
    const change: PendingName = { directory, returned: false, apply };
    apply(this.#seen);
    this.#pending.push(change);
    return change;
  }
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}
