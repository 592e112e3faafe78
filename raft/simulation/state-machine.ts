/**
 * The state machine behind simulated replicas, as a port: the ledger of this folder, or the queues
 * of the product in tests.
 *
 * Clients give numbers that go up by one; each is to be applied once, and in order, however often
 * and late it comes. Everything must depend on the entries alone: two replicas that have applied
 * the same entries have the same digest, also where one began with the other's state.
 */

/** Plain data: what it is after a round trip through JSON. */
export interface MachineState {
  /** Index of the last entry that was applied. */
  readonly applied: number;
  readonly digest: number;
  readonly data: unknown;
}

export interface SimulatedMachine {
  readonly applied: number;
  /** Of everything that was applied, in order. */
  readonly digest: number;
  /** What came out for each client, in that order. */
  readonly history: ReadonlyMap<string, readonly number[]>;
  /** The highest number of the client that was applied. */
  lastOf(client: string): number;
  /** An entry of commands, or one without any (no bytes). */
  apply(index: number, term: number, payload: Uint8Array): void;
  state(): MachineState;
  restore(state: MachineState): void;
}

export interface MachineKind {
  make(): SimulatedMachine;
  /** The payload of an entry. */
  encode(client: string, numbers: readonly number[]): Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

export const EMPTY_STATE: MachineState = { applied: 0, digest: 0, data: undefined };

/** Goes on from a digest with one more thing that happened; bytes are read as characters. */
export function mixed(digest: number, text: string, bytes: Uint8Array = NO_BYTES): number {
  let mix = digest;
  for (let at = 0; at < text.length; at += 1) {
    mix = Math.imul(mix ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  for (let at = 0; at < bytes.length; at += 1) {
    mix = Math.imul(mix ^ (bytes[at] as number), 0x01000193) >>> 0;
  }
  return (mix ^ (mix >>> 15)) >>> 0;
}
