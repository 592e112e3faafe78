/**
 * Which nodes of a fault schedule have power: cuts that tear what was not synced, starts, and the
 * end of a process whose disk failed. A cut may come at any time, also in a start.
 */

import type { Random } from '../../raft/simulation/random.ts';
import type { NodeCluster } from './node-cluster.ts';

export const INJECTED = 'put in by the schedule';
/** As the simulated disk says it. */
const OF_THE_DISK = /^(EIO|ENOSPC): simulated/;

export const POWER_EVENTS = [
  'power cut',
  'power cut in a start',
  'power cut in a catch-up',
  'stopped by its disk',
] as const;
export type PowerEvent = (typeof POWER_EVENTS)[number];

export interface ClusterPowerOptions {
  readonly cluster: NodeCluster;
  readonly random: Random;
  /** Its clients have nowhere to go. */
  readonly left: (id: string) => void;
  readonly saw: (what: PowerEvent) => void;
}

export class ClusterPower {
  readonly #options: ClusterPowerOptions;
  readonly #down = new Set<string>();
  /** Another object for each start. */
  readonly #starting = new Map<string, object>();

  constructor(options: ClusterPowerOptions) {
    this.#options = options;
  }

  /** Everybody is there. */
  get isOn(): boolean {
    return this.#down.size === 0 && this.#starting.size === 0;
  }

  cut(id: string): void {
    const { cluster, random, left, saw } = this.#options;
    const node = cluster.node(id);
    left(id);
    saw('power cut');
    if (this.#starting.delete(id)) saw('power cut in a start');
    if (node.isBuilding) saw('power cut in a catch-up');
    // All, none, or each sector and each name by itself.
    node.cut(random.pick([0, 0.2, 0.5, 0.8, 1]), random.chance(0.5));
    this.#down.add(id);
  }

  /** It comes with an empty disk the next time. */
  wipe(id: string): void {
    this.cut(id);
    this.#options.cluster.node(id).wipe();
  }

  /** Of one that was made. */
  begin(id: string): void {
    this.#down.add(id);
    this.start(id);
  }

  start(id: string): void {
    if (!this.#down.delete(id)) return;
    const token = {};
    const node = this.#options.cluster.node(id);
    this.#starting.set(id, token);
    node.start().then(
      () => {
        if (this.#starting.get(id) === token) this.#starting.delete(id);
      },
      (error: Error) => {
        if (this.#starting.get(id) === token) node.failures.push(error);
      },
    );
  }

  /** A process that has failed ends, and another one starts. */
  look(): void {
    for (const { id, failures } of this.#options.cluster.nodes) {
      if (failures.length === 0) continue;
      failures.forEach(expectInjected);
      this.#options.saw('stopped by its disk');
      this.cut(id);
      this.start(id);
    }
  }
}

function expectInjected(error: Error): void {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (OF_THE_DISK.test(cause.message) || cause.message.includes(INJECTED)) return;
  }
  throw error;
}
