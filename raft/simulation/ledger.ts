/**
 * The plain state machine of a simulation: clients' numbers, each applied once and in order.
 *
 * A number that was applied before changes nothing (a retry), and one that leaves a gap is refused.
 * The history of each client is kept apart from the table that finds retries, so that a check need
 * not trust that table.
 */

import { EMPTY_STATE, mixed } from './state-machine.ts';
import type { MachineKind, MachineState, SimulatedMachine } from './state-machine.ts';

interface LedgerData {
  readonly last: readonly (readonly [client: string, number: number])[];
  readonly history: readonly (readonly [client: string, runs: readonly Run[]])[];
}

type Run = readonly [first: number, last: number];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

class Ledger implements SimulatedMachine {
  #applied = EMPTY_STATE.applied;
  #digest = EMPTY_STATE.digest;
  #last = new Map<string, number>();
  #history = new Map<string, number[]>();

  get applied(): number {
    return this.#applied;
  }

  get digest(): number {
    return this.#digest;
  }

  get history(): ReadonlyMap<string, readonly number[]> {
    return this.#history;
  }

  lastOf(client: string): number {
    return this.#last.get(client) ?? 0;
  }

  apply(index: number, term: number, payload: Uint8Array): void {
    if (index !== this.#applied + 1) {
      throw new Error(`entry ${index} is applied behind ${this.#applied}`);
    }
    this.#applied = index;
    const text = decoder.decode(payload);
    this.#digest = mixed(this.#digest, `${index} ${term} ${text}`);
    const [client = '', ...numbers] = text.split(' ');
    for (const number of numbers.map(Number)) this.#take(client, number);
  }

  #take(client: string, number: number): void {
    if (number !== this.lastOf(client) + 1) return;
    this.#last.set(client, number);
    const numbers = this.#history.get(client);
    if (numbers === undefined) this.#history.set(client, [number]);
    else numbers.push(number);
  }

  state(): MachineState {
    const history: LedgerData['history'] = [...this.#history].map(([client, numbers]) => {
      return [client, runsOf(numbers)];
    });
    const data: LedgerData = { last: [...this.#last], history };
    return { applied: this.#applied, digest: this.#digest, data };
  }

  restore({ applied, digest, data }: MachineState): void {
    const { last, history } = (data ?? { last: [], history: [] }) as LedgerData;
    this.#applied = applied;
    this.#digest = digest;
    this.#last = new Map(last);
    this.#history = new Map(history.map(([client, runs]) => [client, numbersOf(runs)]));
  }
}

/** Numbers that follow one another, as the first and the last of them: a state stays small. */
function runsOf(numbers: readonly number[]): Run[] {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run !== undefined && number === run[1] + 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

function numbersOf(runs: readonly Run[]): number[] {
  return runs.flatMap(([first, last]) => {
    return Array.from({ length: last - first + 1 }, (_none, nth) => first + nth);
  });
}

export const ledgers: MachineKind = {
  make: () => new Ledger(),
  encode: (client, numbers) => encoder.encode([client, ...numbers].join(' ')),
};
