/**
 * Puts a `Ready` together from what the parts have left to do, and counts the pieces of the stream
 * of writes.
 *
 * Empty lists are shared, so that a `Ready` costs what is in it.
 */

import type { ConfigurationAt } from './configuration.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { Installing } from './installing.ts';
import type { Persist, Ready, Role, SoftState } from './ready.ts';
import type { Server } from './server.ts';

const NO_ENTRIES: readonly Entry[] = [];

export class ReadyWriter {
  readonly #server: Server;
  readonly #installing: Installing;
  #hardStateToken = 0;
  #role: Role = 'follower';
  #term: Term;
  #leader: ServerId | undefined;
  #configuration: ConfigurationAt;
  #commitIndex: LogIndex;

  constructor(server: Server, installing: Installing) {
    this.#server = server;
    this.#installing = installing;
    const { term, commitIndex, configurations } = server.replica;
    this.#term = term;
    this.#commitIndex = commitIndex;
    this.#configuration = configurations.current;
  }

  /** Whether term and vote are on the disk as they are. */
  get isHardStateDurable(): boolean {
    const { isHardStateChanged, ledger } = this.#server.replica;
    return !isHardStateChanged && this.#hardStateToken <= ledger.completed;
  }

  take(): Ready | undefined {
    const server = this.#server;
    server.prepare();
    const persist = this.#persist();
    const apply = server.replica.role === 'stopped' ? NO_ENTRIES : server.applying.take();
    const ready: Ready = {
      send: server.replica.outbox.take(),
      persist,
      apply,
      reads: server.reads.take(),
      fetch: server.fetches.take(),
      catchUp: server.replication.takeCatchUps(),
      soft: this.#softState(),
      configuration: this.#changedConfiguration(),
      commitIndex: this.#movedCommitIndex(),
    };
    this.#forget();
    return isEmpty(ready) ? undefined : ready;
  }

  #persist(): Persist | undefined {
    const { replica, repairs } = this.#server;
    const { log, ledger, role } = replica;
    const isAny =
      replica.isHardStateChanged ||
      log.hasUnsubmitted ||
      this.#installing.isPending ||
      repairs.hasRepaired;
    if (!isAny || role === 'stopped') return undefined;
    const hardState = replica.takeHardState();
    const snapshot = this.#installing.take();
    const { truncateAfter, entries } = log.submit();
    const repaired = repairs.take();
    const token = ledger.nextToken;
    ledger.submit({
      token,
      through: log.last,
      hardState: hardState !== undefined,
      snapshot,
      repaired,
      tick: replica.ticks,
    });
    if (hardState !== undefined) this.#hardStateToken = token;
    return { token, hardState, snapshot, truncateAfter, entries, repaired };
  }

  #softState(): SoftState | undefined {
    const { role, term, leader } = this.#server.replica;
    if (role === this.#role && term === this.#term && leader === this.#leader) return undefined;
    this.#role = role;
    this.#term = term;
    this.#leader = leader;
    return { role, term, leader };
  }

  #changedConfiguration(): ConfigurationAt | undefined {
    const { current } = this.#server.replica.configurations;
    if (current === this.#configuration) return undefined;
    this.#configuration = current;
    return current;
  }

  #movedCommitIndex(): LogIndex | undefined {
    const { commitIndex } = this.#server.replica;
    if (commitIndex === this.#commitIndex) return undefined;
    this.#commitIndex = commitIndex;
    return commitIndex;
  }

  /** Payloads that nobody needs any more. */
  #forget(): void {
    const { replica, applying, peers } = this.#server;
    const slowest = replica.role === 'leader' ? peers.slowestMatch : Infinity;
    const unneeded = Math.min(applying.applying, slowest);
    replica.log.forget(replica.commitIndex, unneeded, replica.limits.tailBytes);
  }
}

function isEmpty(ready: Ready): boolean {
  return (
    ready.send.length === 0 &&
    ready.persist === undefined &&
    ready.apply.length === 0 &&
    ready.reads.length === 0 &&
    ready.fetch.length === 0 &&
    ready.catchUp.length === 0 &&
    ready.soft === undefined &&
    ready.configuration === undefined &&
    ready.commitIndex === undefined
  );
}
