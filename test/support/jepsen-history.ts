/** Writes histories for the tests of the checkers: each call is an operation at `now`. */

import type { Event, FaultName, Operation } from '../../jepsen/history/operation.ts';

const NS_PER_MS = 1e6;

export class HistoryBuilder {
  readonly operations: Operation[] = [];
  #nowMs = 0;
  #queue = 'q';
  #process = 0;
  #faults = 0;

  /** Moves the time on. */
  after(ms: number): this {
    this.#nowMs += ms;
    return this;
  }

  /** What follows is about this queue. */
  of(queue: string): this {
    this.#queue = queue;
    return this;
  }

  add(event: Event): this {
    const index = this.operations.length;
    this.operations.push({ index, time: this.#nowMs * NS_PER_MS, ...event });
    return this;
  }

  /** Sent, and answered a millisecond later; without an answer it stays open. */
  enqueue(value: string, end: 'ok' | 'fail' | 'info' | 'open' = 'ok'): this {
    this.#process += 1;
    const process = this.#process;
    const about = { f: 'enqueue', process, node: 'n1', queue: this.#queue, value } as const;
    this.add({ ...about, type: 'invoke' });
    if (end === 'open') return this;
    return this.after(1).add({ ...about, type: end });
  }

  dequeue(
    value: string,
    offset: number,
    more: { group?: string; consumer?: string; corrupt?: true; attempt?: number } = {},
  ): this {
    this.#process += 1;
    const about = {
      f: 'dequeue',
      process: this.#process,
      node: 'n1',
      queue: this.#queue,
      value,
      offset,
      attempt: 1,
      group: 'g',
      consumer: 'c',
      ...more,
    } as const;
    return this.add({ ...about, type: 'invoke' }).add({ ...about, type: 'ok' });
  }

  ack(value: string, offset: number, end: 'ok' | 'fail' | 'info' = 'ok', group = 'g'): this {
    const about = { f: 'ack', ...this.#settlement(value, offset), group } as const;
    return this.add({ ...about, type: 'invoke' })
      .after(1)
      .add({ ...about, type: end });
  }

  /** To the dead letters in `d`. */
  reject(value: string, offset: number, end: 'ok' | 'fail' | 'info' = 'ok'): this {
    const about = { f: 'reject', ...this.#settlement(value, offset), dead: 'd' } as const;
    return this.add({ ...about, type: 'invoke' })
      .after(1)
      .add({ ...about, type: end });
  }

  attach(consumer = 'c', group = 'g'): this {
    return this.#attachment('attach', consumer, group);
  }

  detach(consumer = 'c', group = 'g'): this {
    return this.#attachment('detach', consumer, group);
  }

  phase(value: 'load' | 'heal' | 'drain' | 'end'): this {
    return this.add({ process: 'harness', f: 'phase', type: 'info', value });
  }

  recovered(value: string, type: 'ok' | 'fail' = 'ok'): this {
    return this.add({ process: 'harness', f: 'recovered', type, queue: this.#queue, value });
  }

  drained(groups: readonly string[] = ['g'], type: 'ok' | 'fail' = 'ok'): this {
    return this.add({ process: 'harness', f: 'drained', type, queue: this.#queue, value: groups });
  }

  /** In force for so long, unless a step is left out. */
  fault(
    f: FaultName,
    ms: number,
    more: { detail?: string; without?: 'installed' | 'healed'; refused?: string } = {},
  ): this {
    this.#faults += 1;
    const detail = more.detail ?? 'one: x';
    const about = {
      process: 'nemesis',
      type: 'info',
      f,
      fault: this.#faults,
      nodes: ['n1'],
      detail,
    } as const;
    this.add({ ...about, step: 'install' });
    if (more.refused !== undefined) this.add({ ...about, step: 'refused', detail: more.refused });
    else if (more.without !== 'installed') this.add({ ...about, step: 'installed' });
    this.after(ms).add({ ...about, step: 'heal' });
    if (more.without !== 'healed') this.add({ ...about, step: 'healed' });
    return this;
  }

  #attachment(f: 'attach' | 'detach', consumer: string, group: string): this {
    this.#process += 1;
    const process = this.#process;
    const about = { f, process, node: 'n1', queue: this.#queue, consumer, group } as const;
    return this.add({ ...about, type: 'invoke' }).add({ ...about, type: 'ok' });
  }

  #settlement(
    value: string,
    offset: number,
  ): {
    process: number;
    node: string;
    queue: string;
    value: string;
    offset: number;
    group: string;
    consumer: string;
  } {
    this.#process += 1;
    const process = this.#process;
    return { process, node: 'n1', queue: this.#queue, value, offset, group: 'g', consumer: 'c' };
  }
}

/** A run in which everything went well, with one fault, two messages and one group. */
export function soundHistory(): HistoryBuilder {
  return new HistoryBuilder()
    .phase('load')
    .attach()
    .enqueue('p.0/0')
    .dequeue('p.0/0', 0)
    .ack('p.0/0', 0)
    .fault('kill', 500, { detail: 'all: SIGKILL' })
    .enqueue('p.0/1')
    .dequeue('p.0/1', 1)
    .ack('p.0/1', 1)
    .phase('heal')
    .recovered('n1')
    .phase('drain')
    .after(20_000)
    .drained()
    .detach()
    .phase('end');
}
