/**
 * The port to the network between the nodes: where each one listens, and how to cut it. One cut is
 * one direction: what `from` sends to `to` is lost. Only traffic between the nodes of the run is
 * ever touched.
 */

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface NodeAddresses {
  readonly mqtt: Address;
  readonly ops: Address;
  /** Where it listens for the other nodes. */
  readonly peer: Address;
}

export interface ClusterNetwork {
  /** How it is made, for the report. */
  readonly about: string;
  /** False where a node is alone, or where nothing can be cut. */
  readonly canCut: boolean;
  /** Whether nodes are outside of loopback, and so need TLS. */
  readonly needsTls: boolean;
  addresses(node: string): NodeAddresses;
  /** Where `from` finds `to`. */
  peerAddress(from: string, to: string): Address;
  /** The command that runs another one on the node. */
  onNode(node: string): readonly string[];
  /** Resolves when it is seen to be in force; rejects otherwise. */
  cut(from: string, to: string): Promise<void>;
  /** Resolves when no cut is in force any more. */
  heal(): Promise<void>;
  close(): Promise<void>;
}

export function addressText({ host, port }: Address): string {
  return `${host}:${port}`;
}
