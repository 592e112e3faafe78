/**
 * The port to a kind of fault. A card names a kind and one of its choices (`kill leader`); dealt,
 * it becomes a plan with its nodes, or the reason why it cannot be played now.
 */

import type { Cluster } from '../cluster/cluster.ts';
import type { FaultName } from '../history/operation.ts';
import type { Random } from '../random.ts';

export interface Plan {
  readonly nodes: readonly string[];
  readonly detail: string;
  /** Resolves when the fault was seen to be in force; rejects otherwise. */
  install(): Promise<void>;
  /** Resolves when it was seen to be over. */
  heal(): Promise<void>;
}

export interface Leader {
  readonly node: string;
  readonly shard: number;
}

export interface Table {
  readonly cluster: Cluster;
  readonly random: Random;
  /** Nodes that lost their disk in this run. */
  readonly wiped: Set<string>;
  /** Who leads a shard now, one of them by chance, if it can be found out. */
  leader(): Promise<Leader | undefined>;
  /** The replica of the node that the cluster knows; undefined: nobody says it. */
  memberOf(node: string): Promise<string | undefined>;
  /** Whether every node that lost its disk has its place again. */
  isWhole(): boolean;
  /** Gives a node its place again, beside whatever comes then; `was`: the replica that is lost. */
  replace(node: string, was: string): void;
}

export interface FaultKind {
  readonly name: FaultName;
  readonly about: string;
  readonly choices: readonly string[];
  /** Why this choice makes no sense with so many nodes; undefined when it does. */
  unfit(choice: string, nodes: number, canCut: boolean): string | undefined;
  /** A text is the reason why not now. */
  plan(choice: string, table: Table): Promise<Plan | string>;
}
