/**
 * Watches the stream of writes of one replica for the checks: what it gives to its disk, and what
 * of it is told durable.
 *
 * What an earlier write carried and a later one has cut off is not made durable by the earlier
 * one's completion.
 */

import type { Entry, HardState, Installed } from '../raft.ts';
import type { MirrorEntry } from './log-mirror.ts';
import { votersOf } from './node.ts';
import type { SafetyChecks } from './safety-checks.ts';

interface WatchedWrite {
  readonly token: number;
  readonly hardState: HardState | undefined;
  through: number;
}

export interface Written {
  readonly token: number;
  readonly hardState: HardState | undefined;
  readonly truncateAfter: number | undefined;
  readonly entries: readonly Entry[];
  readonly repaired?: readonly Entry[];
  /** A state that takes the place of the log up to its index. */
  readonly snapshot?: Installed | undefined;
}

export class WriteWatch {
  readonly #node: string;
  readonly #checks: SafetyChecks;
  #writes: WatchedWrite[] = [];

  constructor(node: string, checks: SafetyChecks) {
    this.#node = node;
    this.#checks = checks;
  }

  wrote({ token, hardState, truncateAfter, entries, snapshot, repaired }: Written): void {
    if (snapshot?.keepSuffix === false) {
      this.#checks.installed(this.#node, snapshot, votersOf(snapshot.configuration));
      for (const write of this.#writes) write.through = 0;
    }
    if (hardState !== undefined) this.#checks.wroteHardState(this.#node, hardState);
    const first = entries[0]?.index;
    const cut = Math.min(truncateAfter ?? Infinity, (first ?? Infinity) - 1);
    for (const write of this.#writes) write.through = Math.min(write.through, cut);
    if (truncateAfter !== undefined) this.#checks.cutSuffix(this.#node, truncateAfter);
    this.#checks.repaired(this.#node, (repaired ?? []).map(mirrorOf));
    this.#checks.wrote(this.#node, entries.map(mirrorOf));
    const through = entries.at(-1)?.index ?? snapshot?.index ?? 0;
    this.#writes.push({ token, hardState, through });
  }

  /** This write and all before it. */
  persisted(token: number): void {
    const writes = this.#writes;
    this.#writes = [];
    for (const write of writes) {
      if (write.token > token) {
        this.#writes.push(write);
        continue;
      }
      const { hardState, through } = write;
      this.#checks.durable(this.#node, through);
      if (hardState === undefined) continue;
      const { term, vote } = hardState;
      this.#checks.hardStateDurable(this.#node, term, vote ?? '');
    }
  }
}

export function mirrorOf(entry: Entry): MirrorEntry {
  let digest = entry.kind.length;
  const { payload } = entry;
  for (let at = 0; at < payload.length; at += 1) {
    digest = Math.imul(digest ^ (payload[at] as number), 0x01000193) >>> 0;
  }
  for (const { id, role } of entry.configuration?.members ?? []) {
    for (const letter of `${id} ${role} `) {
      digest = Math.imul(digest ^ letter.charCodeAt(0), 0x01000193) >>> 0;
    }
  }
  const { index, term, configuration } = entry;
  if (configuration === undefined) return { index, term, digest };
  return { index, term, digest, voters: votersOf({ configuration }) };
}
