/**
 * Where names live and which shards there are, as shard 0 says it: the plainest way to say so.
 */

import type { PlacementRefusal } from '../../src/machine/effect.ts';
import type { PlaceCommand } from '../../src/machine/place-commands.ts';
import type { ShardRow } from '../../src/machine/shard-map.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

/** What the model of the machine knows of its queues. */
export interface ModelNames {
  readonly count: number;
  has(name: string): boolean;
}

export class ModelPlaces {
  readonly rows = new Map<string, { readonly shard: number; readonly version: number }>();
  map: ShardRow[] = [];
  #version = 0;

  run(command: PlaceCommand, names: ModelNames): SeenEffect[] {
    switch (command.kind) {
      case 'place-queue':
        return [this.#place(command, names)];
      case 'unplace-queue': {
        const { name, version } = command;
        const removed = this.rows.get(name)?.version === version && this.rows.delete(name);
        return [{ kind: 'queue-unplaced', name, removed }];
      }
      case 'fence-names':
        return [{ kind: 'names-fenced', version: command.version }];
      default: {
        const before = JSON.stringify(this.map);
        if (!this.#change(command)) return [{ kind: 'shard-map-refused', detail: '' }];
        const changed = JSON.stringify(this.map) !== before;
        return [{ kind: 'shard-map-set', map: this.map, changed }];
      }
    }
  }

  where(name: string, names: ModelNames) {
    return names.has(name) ? { shard: 0, version: 0 } : this.rows.get(name);
  }

  #place(
    { name, among, near }: Extract<PlaceCommand, { kind: 'place-queue' }>,
    names: ModelNames,
  ): SeenEffect {
    if (name.includes('/')) return refused('invalid');
    const there = this.where(name, names);
    const shard = there?.shard ?? this.where(near, names)?.shard ?? this.#emptiest(among, names);
    if (shard === undefined) return refused('no-shard');
    if (shard === 0) return { kind: 'queue-placed', name, shard, version: 0 };
    this.#version += 1;
    const place = { shard, version: this.#version };
    this.rows.set(name, place);
    return { kind: 'queue-placed', name, ...place };
  }

  #emptiest(among: readonly number[], names: ModelNames): number | undefined {
    const queues = (shard: number): number =>
      shard === 0
        ? names.count
        : [...this.rows.values()].filter((place) => place.shard === shard).length;
    return among
      .filter((shard) => shard <= this.map.length)
      .sort((a, b) => queues(a) - queues(b) || a - b)[0];
  }

  /** False: it is refused. */
  #change(command: Exclude<PlaceCommand, { kind: 'place-queue' | 'unplace-queue' }>): boolean {
    if (command.kind === 'fence-names') return true;
    const { number } = command;
    const row = this.map[number - 1];
    if (command.kind === 'add-shard') {
      const { founders } = command;
      if (row !== undefined) return JSON.stringify(row.founders) === JSON.stringify(founders);
      const isSound = founders.length > 0 && new Set(founders).size === founders.length;
      if (number !== this.map.length + 1 || !isSound) return false;
      this.map = [...this.map, { number, founders, hosts: founders }];
      return true;
    }
    if (row === undefined) return false;
    const others = row.hosts.filter((node) => node !== command.node);
    const isHost = others.length < row.hosts.length;
    if (command.kind === 'unhost-shard' && isHost && others.length === 0) return false;
    if (isHost === (command.kind === 'host-shard')) return true;
    const hosts = command.kind === 'host-shard' ? [...row.hosts, command.node] : others;
    this.map = this.map.map((each) => (each === row ? { ...row, hosts } : each));
    return true;
  }
}

function refused(reason: PlacementRefusal): SeenEffect {
  return { kind: 'placement-refused', reason, detail: '' };
}
