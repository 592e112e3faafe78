/**
 * The state machine of a simulation: clients' numbered values, each applied once and in order.
 *
 * A command carries its client and a number that goes up by one; a number that was applied before
 * changes nothing (a retry), and one that leaves a gap is refused. The history of each client is
 * kept apart from the table that finds retries, so that a check need not trust that table. Must
 * depend on the entries alone: two replicas at one index have one digest.
 */

export interface Command {
  readonly client: string;
  readonly number: number;
}

export interface LedgerState {
  readonly applied: number;
  readonly digest: number;
  readonly last: readonly (readonly [client: string, number: number])[];
  readonly history: readonly (readonly [client: string, numbers: readonly number[]])[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeCommands(commands: readonly Command[]): Uint8Array {
  return encoder.encode(commands.map(({ client, number }) => `${client} ${number}`).join(';'));
}

function decodeCommands(payload: Uint8Array): Command[] {
  const text = decoder.decode(payload);
  if (text === '') return [];
  return text.split(';').map((command) => {
    const [client = '', number = ''] = command.split(' ');
    return { client, number: Number(number) };
  });
}

export class Ledger {
  #applied = 0;
  #digest = 0;
  #last = new Map<string, number>();
  #history = new Map<string, number[]>();

  /** Index of the last entry that was applied. */
  get applied(): number {
    return this.#applied;
  }

  /** Of everything that was applied, in order. */
  get digest(): number {
    return this.#digest;
  }

  get history(): ReadonlyMap<string, readonly number[]> {
    return this.#history;
  }

  /** The highest number of the client that was applied. */
  lastOf(client: string): number {
    return this.#last.get(client) ?? 0;
  }

  apply(index: number, term: number, payload: Uint8Array): void {
    if (index !== this.#applied + 1) {
      throw new Error(`entry ${index} is applied behind ${this.#applied}`);
    }
    this.#applied = index;
    this.#mix(`${index} ${term}`);
    for (const { client, number } of decodeCommands(payload)) {
      this.#mix(`${client} ${number}`);
      if (number !== this.lastOf(client) + 1) continue;
      this.#last.set(client, number);
      const numbers = this.#history.get(client);
      if (numbers === undefined) this.#history.set(client, [number]);
      else numbers.push(number);
    }
  }

  state(): LedgerState {
    return {
      applied: this.#applied,
      digest: this.#digest,
      last: [...this.#last],
      history: [...this.#history].map(([client, numbers]) => [client, [...numbers]]),
    };
  }

  restore(state: LedgerState): void {
    this.#applied = state.applied;
    this.#digest = state.digest;
    this.#last = new Map(state.last);
    this.#history = new Map(state.history.map(([client, numbers]) => [client, [...numbers]]));
  }

  #mix(text: string): void {
    for (let at = 0; at < text.length; at += 1) {
      this.#digest = Math.imul(this.#digest ^ text.charCodeAt(at), 0x01000193) >>> 0;
    }
    this.#digest = (this.#digest ^ (this.#digest >>> 15)) >>> 0;
  }
}

export function encodeLedger(state: LedgerState): Uint8Array {
  return encoder.encode(JSON.stringify(state));
}

export function decodeLedger(bytes: Uint8Array): LedgerState {
  return JSON.parse(decoder.decode(bytes)) as LedgerState;
}
