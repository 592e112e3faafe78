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

/** Numbers that follow one another, as the first and the last of them: a state stays small. */
type Run = [first: number, last: number];

const SPACE = 32;
const ZERO = 48;

class Ledger implements SimulatedMachine {
  #applied = EMPTY_STATE.applied;
  #digest = EMPTY_STATE.digest;
  #last = new Map<string, number>();
  #history = new Map<string, Run[]>();

  get applied(): number {
    return this.#applied;
  }

  get digest(): number {
    return this.#digest;
  }

  get history(): ReadonlyMap<string, readonly number[]> {
    return new Map([...this.#history].map(([client, runs]) => [client, numbersOf(runs)]));
  }

  lastOf(client: string): number {
    return this.#last.get(client) ?? 0;
  }

  apply(index: number, term: number, payload: Uint8Array): void {
    if (index !== this.#applied + 1) {
      throw new Error(`entry ${index} is applied behind ${this.#applied}`);
    }
    this.#applied = index;
    this.#digest = mixed(this.#digest, `${index} ${term} `, payload);
    const end = payload.indexOf(SPACE);
    if (end < 0) return;
    let client = '';
    for (let at = 0; at < end; at += 1) client += String.fromCharCode(payload[at] as number);
    let number = 0;
    for (let at = end + 1; at < payload.length; at += 1) {
      const byte = payload[at] as number;
      if (byte !== SPACE) {
        number = number * 10 + byte - ZERO;
        continue;
      }
      this.#take(client, number);
      number = 0;
    }
    this.#take(client, number);
  }

  #take(client: string, number: number): void {
    if (number !== this.lastOf(client) + 1) return;
    this.#last.set(client, number);
    const runs = this.#history.get(client);
    const run = runs?.at(-1);
    if (runs === undefined) this.#history.set(client, [[number, number]]);
    else if (run !== undefined && number === run[1] + 1) run[1] = number;
    else runs.push([number, number]);
  }

  state(): MachineState {
    const data: LedgerData = { last: [...this.#last], history: copied([...this.#history]) };
    return { applied: this.#applied, digest: this.#digest, data };
  }

  restore({ applied, digest, data }: MachineState): void {
    const { last, history } = (data ?? { last: [], history: [] }) as LedgerData;
    this.#applied = applied;
    this.#digest = digest;
    this.#last = new Map(last);
    this.#history = new Map(copied(history));
  }
}

function copied(history: LedgerData['history']): [client: string, runs: Run[]][] {
  return history.map(([client, runs]) => [client, runs.map(([first, last]) => [first, last])]);
}

function numbersOf(runs: readonly Run[]): number[] {
  return runs.flatMap(([first, last]) => {
    return Array.from({ length: last - first + 1 }, (_none, nth) => first + nth);
  });
}

/** Payloads are short: cheaper than an encoder. */
function asciiOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export const ledgers: MachineKind = {
  make: () => new Ledger(),
  encode: (client, numbers) => asciiOf([client, ...numbers].join(' ')),
};
