/**
 * The logs of the replicas after the end of a run, against each other (Raft 5.3, Log Matching, and
 * State Machine Safety):
 *
 * - entries of one index and one term are the same everywhere;
 * - below the last index at which all replicas agree, they agree on every index that they have;
 * - after the drain no replica is far behind what a majority has.
 *
 * A replica that lost its disk, or whose oldest segments went, has no beginning: there only what is
 * left is compared.
 */

import { Findings, type Verdict } from './verdict.ts';

/** What may come in the last moments, while the brokers end one after the other. */
const BEHIND_MAX = 64;

export interface Replica {
  readonly node: string;
  /** In the order of its log; undefined when it could not be read. */
  readonly entries: readonly Entry[] | undefined;
}

interface Entry {
  readonly index: number;
  readonly term: number;
  readonly checksum: string;
}

interface Kept {
  readonly node: string;
  readonly byIndex: ReadonlyMap<number, Entry>;
  readonly last: number;
}

/** An entry that comes again at a lower index takes the place of all from there on. */
function kept(node: string, entries: readonly Entry[]): Kept {
  const byIndex = new Map<number, Entry>();
  let last = 0;
  for (const entry of entries) {
    for (let index = entry.index; index <= last; index += 1) byIndex.delete(index);
    byIndex.set(entry.index, entry);
    last = entry.index;
  }
  return { node, byIndex, last };
}

/** The highest index at which so many replicas have an entry of one term; 0 when there is none. */
function agreement(replicas: readonly Kept[], wanted: number): number {
  for (let index = Math.max(0, ...replicas.map(({ last }) => last)); index > 0; index -= 1) {
    const terms = replicas.map(({ byIndex }) => byIndex.get(index)?.term);
    const votes = (term: number | undefined): number =>
      terms.filter((other) => term !== undefined && other === term).length;
    if (terms.some((term) => votes(term) >= wanted)) return index;
  }
  return 0;
}

interface Pair {
  readonly one: Kept;
  readonly other: Kept;
  readonly agreed: number;
  readonly findings: Findings;
}

/** How many entries were compared. */
function compare({ one, other, agreed, findings }: Pair): number {
  let compared = 0;
  for (const [index, entry] of one.byIndex) {
    const twin = other.byIndex.get(index);
    if (twin === undefined) continue;
    compared += 1;
    const where = `index ${index} of ${one.node} and ${other.node}`;
    if (twin.term !== entry.term) {
      if (index > agreed) continue;
      findings.add(0, `${where}: terms ${entry.term} and ${twin.term}, below what all agree on`);
    } else if (twin.checksum !== entry.checksum) {
      const sums = `${entry.checksum} and ${twin.checksum}`;
      findings.add(0, `${where}: one term, ${entry.term}, and two payloads, ${sums}`);
    }
  }
  return compared;
}

export function checkReplicas(replicas: readonly Replica[]): Verdict {
  const findings = new Findings();
  const read: Kept[] = [];
  for (const { node, entries } of replicas) {
    if (entries === undefined) findings.add(0, `the log of ${node} could not be read`);
    else read.push(kept(node, entries));
  }
  const majority = Math.floor(replicas.length / 2) + 1;
  const [agreed, committed] = [agreement(read, replicas.length), agreement(read, majority)];
  let compared = 0;
  for (const [at, one] of read.entries()) {
    if (one.last < committed - BEHIND_MAX) {
      findings.add(0, `${one.node} ends at ${one.last}, a majority has ${committed}`);
    }
    for (const other of read.slice(at + 1)) compared += compare({ one, other, agreed, findings });
  }
  if (compared === 0) findings.add(0, 'no two replicas have an entry in common');
  return findings.verdict('replicas', { logs: read.length, agreed, compared });
}
