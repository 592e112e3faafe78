/**
 * Messages between shards as one would write them without caring for memory: every number that was
 * ever given, and every one that ever came, with what became of it.
 */

import type { Command } from '../../src/machine/command.ts';
import type { Intent } from '../../src/machine/effect.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';

type Of<Kind extends Command['kind']> = Extract<Command, { kind: Kind }>;
type Take = Of<'take-transfer'>;

const SPAN = 1_024;
const IDS_OF_SHARD = 2 ** 40;

interface Arrived {
  readonly opened: number;
  readonly how: 'taken' | 'refused';
}

export class ModelRoutes {
  readonly #intents: Map<number, Intent>;
  readonly #next = new Map<number, number>();
  readonly #floors = new Map<number, number>();
  readonly #arrived = new Map<number, Map<number, Arrived>>();

  constructor(intents: Map<number, Intent>) {
    this.#intents = intents;
  }

  route({ intent: number, queueId }: Of<'route-intent'>): SeenEffect[] {
    const intent = this.#intents.get(number);
    if (intent === undefined || intent.route !== undefined) return [];
    const shard = Math.floor(queueId / IDS_OF_SHARD);
    const next = this.#next.get(shard) ?? 1;
    if (next - this.lowest(shard) >= SPAN) return [{ kind: 'route-refused', intent: number }];
    this.#next.set(shard, next + 1);
    const routed = { ...intent, route: { queueId, number: next } };
    this.#intents.set(number, routed);
    return [{ kind: 'intent-routed', intent: routed }];
  }

  /** Not for `taken`, which closes the intent. */
  end({ intent: number, how, next }: Of<'end-route'>): SeenEffect[] {
    const intent = this.#intents.get(number);
    if (intent?.route === undefined || how === 'taken') throw new Error('nothing to end');
    const shard = Math.floor(intent.route.queueId / IDS_OF_SHARD);
    this.#next.set(shard, Math.max(next, this.#next.get(shard) ?? 1));
    this.#intents.set(number, { ...intent, route: undefined, refusals: intent.refusals + 1 });
    return [{ kind: 'route-ended', intent: number, how }];
  }

  lowest(shard: number): number {
    const open = [...this.#intents.values()].flatMap(({ route }) =>
      route !== undefined && Math.floor(route.queueId / IDS_OF_SHARD) === shard
        ? [route.number]
        : [],
    );
    return Math.min(this.#next.get(shard) ?? 1, ...open);
  }

  /** `store` says what becomes of one that is new. */
  take(command: Take, store: () => 'taken' | 'refused' | 'gone'): SeenEffect {
    const { from, number, opened, lowestOpen } = command;
    const floor = Math.max(this.#floors.get(from) ?? 1, lowestOpen);
    this.#floors.set(from, floor);
    const all = this.#arrived.get(from) ?? new Map<number, Arrived>();
    this.#arrived.set(from, all);
    const before = all.get(number);
    let how: 'taken' | 'refused' | 'gone' | 'stale' = 'stale';
    if (number >= floor && before?.opened === opened) ({ how } = before);
    else if (number >= floor && before === undefined) {
      how = store();
      if (how !== 'gone') all.set(number, { opened, how });
    }
    const known = [...all.keys()].filter((each) => each >= floor);
    const next = Math.max(floor, ...known.map((each) => each + 1));
    return { kind: 'arrived', from, number, opened, how, next };
  }
}
