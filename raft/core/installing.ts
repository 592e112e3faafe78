/**
 * A checkpoint takes the place of the log (Raft 7, figure 13). The host has fetched it and holds it
 * ready; here it is decided whether it is of use, and what of the log stays.
 *
 * It is committed state, so nothing newer may be replaced by it, and it must not race with apply.
 * Until it is durable, what this server acknowledges is no more than was known committed before:
 * the disk still holds another log.
 */

import type { Applying } from './applying.ts';
import type { ConfigurationAt } from './configuration.ts';
import type { LogIndex, Term } from './ids.ts';
import type { InstallOutcome, InstallRefusal } from './outcome.ts';
import type { Installed } from './ready.ts';
import type { Replica } from './replica.ts';

/** A checkpoint that the host has fetched and can make the current one. */
export interface Checkpoint {
  readonly index: LogIndex;
  /** Term of the entry at `index`. */
  readonly term: Term;
  /** In use at `index`. */
  readonly configuration: ConfigurationAt;
  /**
   * The highest index at which something of the transfer was told gone; at least `index`. It stands
   * for election once its log has it (to apply it may need a leader), and serves no read before it
   * is applied.
   */
  readonly serveFrom: LogIndex;
}

export class Installing {
  readonly #replica: Replica;
  readonly #applying: Applying;
  #pending: Installed | undefined;

  constructor(replica: Replica, applying: Applying) {
    this.#replica = replica;
    this.#applying = applying;
  }

  install(checkpoint: Checkpoint): InstallOutcome {
    const code = this.#refusal(checkpoint.index);
    if (code !== undefined) return { kind: 'refused', code };
    const replica = this.#replica;
    const { index, term, configuration } = checkpoint;
    // Up to the commit index this log is everybody's, although a part of it may be damaged.
    const keepSuffix = index <= replica.commitIndex || this.#hasEntry(index, term);
    if (keepSuffix) replica.log.startBehind(index, term);
    else this.#replaceLog(index, term);
    replica.faults.truncatePrefix(index + 1);
    replica.configurations.install(configuration, index, keepSuffix);
    replica.commit(index);
    replica.serveFrom = Math.max(replica.serveFrom, checkpoint.serveFrom, index);
    this.#applying.install();
    const { serveFrom } = replica;
    this.#pending = { index, term, configuration, keepSuffix, serveFrom };
    return { kind: 'accepted' };
  }

  #refusal(index: LogIndex): InstallRefusal | undefined {
    const { role } = this.#replica;
    if (role === 'stopped') return 'stopped';
    if (role === 'leader' || !this.#isOfUse(index)) return 'stale';
    if (this.#applying.isInstalling) return 'installing';
    return this.#applying.isIdle ? undefined : 'applying';
  }

  /** Newer than what is committed; or it stands for damage, or a state, that cannot be read. */
  #isOfUse(index: LogIndex): boolean {
    const { commitIndex, applied, faults, log, stateLost } = this.#replica;
    if (stateLost) return this.#fitsTheLog(index);
    if (index > commitIndex) return true;
    return index > applied && faults.touches(applied + 1, index) && index <= log.durable;
  }

  /**
   * Of a replica without its state: an older checkpoint would leave a gap before its log, which
   * would have to go with all that it has acknowledged; and what is to stay is read once more.
   */
  #fitsTheLog(index: LogIndex): boolean {
    const { log, faults } = this.#replica;
    return index >= log.start - 1 && !faults.touches(index + 1, log.last);
  }

  /** Figure 13, rule 6: the log has the checkpoint's last entry, so what follows it stays. */
  #hasEntry(index: LogIndex, term: Term): boolean {
    const { log, faults } = this.#replica;
    return index <= log.durable && faults.at(index) === undefined && log.termAt(index) === term;
  }

  /** Figure 13, rule 7. What lay behind damage may have been acknowledged. */
  #replaceLog(index: LogIndex, term: Term): void {
    const replica = this.#replica;
    const { log, faults, commitIndex } = replica;
    if (faults.isEndUnknown || faults.touches(index, log.last)) replica.setTailLost(true);
    log.reset(index, term, Math.min(log.durable, commitIndex));
    faults.truncateSuffix(0);
    replica.verified = Math.min(replica.verified, index);
  }

  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /** For the next write. */
  take(): Installed | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    return pending;
  }
}
