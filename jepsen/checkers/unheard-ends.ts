/**
 * Connections that ended on the broker's side before their client heard of it: from its last
 * delivery to its end such a connection may have been sent what it never got.
 *
 * A client that could not run for some seconds has its keep-alive missed, and reads the reason
 * only when it runs again, behind the second attempts that others got of its messages.
 */

import type { Operation } from '../history/operation.ts';

interface Place {
  readonly consumer: string;
  readonly time: number;
}

interface Quiet {
  /** When it got something last, or when it began. */
  from: number;
  to: number | undefined;
}

export class UnheardEnds {
  /** By group, and by connection. */
  readonly #groups = new Map<string, Map<string, Quiet>>();

  constructor(history: readonly Operation[]) {
    for (const operation of history) {
      if (operation.type !== 'ok') continue;
      const { f, time } = operation;
      if (f === 'attach' || f === 'dequeue') this.#of(operation).from = time;
      else if (f === 'detach') this.#of(operation).to = time;
    }
  }

  /** Whether another one of the group was silent then, until its end within `withinNs`. */
  silentAt(group: string, { consumer, time }: Place, withinNs: number): boolean {
    for (const [other, { from, to }] of this.#groups.get(group) ?? []) {
      if (other === consumer || to === undefined) continue;
      if (from <= time && time <= to && to - time < withinNs) return true;
    }
    return false;
  }

  #of({ group, consumer }: { readonly group: string; readonly consumer: string }): Quiet {
    const connections = this.#groups.get(group) ?? new Map<string, Quiet>();
    this.#groups.set(group, connections);
    const quiet = connections.get(consumer) ?? { from: 0, to: undefined };
    connections.set(consumer, quiet);
    return quiet;
  }
}
