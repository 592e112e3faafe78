/**
 * A leader's part in what is proposed and committed (Raft 5.3, 5.4.2; thesis 4.1).
 *
 * An entry is committed when it is of this term and durable on a majority; then so is everything
 * before it. A change of membership is accepted only after a commit in this term, and only while no
 * other is under way. What is proposed and not committed is bounded in bytes.
 */

import type { Configuration, MembershipChange } from './configuration.ts';
import { entryBytes } from './entry-tail.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, ServerId } from './ids.ts';
import { changed } from './membership.ts';
import type { Changed, ChangeRefusal, Proposed, ProposeRefusal } from './outcome.ts';
import type { Peers } from './peers.ts';
import type { Replica } from './replica.ts';
import type { Transfer } from './transfer.ts';

const NO_BYTES = new Uint8Array(0);

export class Leading {
  readonly #replica: Replica;
  readonly #peers: Peers;
  readonly #transfer: Transfer;
  #uncommittedBytes = 0;

  constructor(replica: Replica, peers: Peers, transfer: Transfer) {
    this.#replica = replica;
    this.#peers = peers;
    this.#transfer = transfer;
  }

  get uncommittedBytes(): number {
    return this.#uncommittedBytes;
  }

  /**
   * Of a new leader: its first entry lets it commit those before it (Raft 8, thesis 6.4). That of
   * the first leader of all names the founders.
   */
  begin(founded: Configuration | undefined): void {
    const { log, commitIndex } = this.#replica;
    this.#uncommittedBytes = log.bytesBetween(commitIndex + 1, log.last);
    this.#peers.start();
    this.#transfer.begin();
    if (founded === undefined) this.#append(this.#empty());
    else this.#appendConfiguration(founded);
  }

  end(): void {
    this.#uncommittedBytes = 0;
    this.#peers.stop();
    this.#transfer.end();
  }

  propose(payload: Uint8Array, local: unknown): Proposed {
    const refusal = this.#proposeRefusal(payload.byteLength);
    const { term, leader, log } = this.#replica;
    if (refusal !== undefined) return { kind: 'refused', code: refusal, leader };
    const index = log.last + 1;
    const configuration = undefined;
    this.#append({ index, term, kind: 'commands', payload, configuration, local });
    return { kind: 'accepted', index, term };
  }

  #proposeRefusal(bytes: number): ProposeRefusal | undefined {
    const { role, limits } = this.#replica;
    if (role === 'stopped') return 'stopped';
    if (role !== 'leader') return 'not-leader';
    if (this.#transfer.to !== undefined) return 'transferring';
    if (bytes > limits.entryBytes) return 'too-large';
    const isRoom = this.#uncommittedBytes + bytes <= limits.uncommittedBytes;
    return isRoom || this.#uncommittedBytes === 0 ? undefined : 'busy';
  }

  changeMembership(change: MembershipChange): Changed {
    const { term, leader, configurations } = this.#replica;
    const next = this.#changeRefusal() ?? changed(configurations.current.configuration, change);
    if (typeof next === 'string') return { kind: 'refused', code: next, leader };
    if (change.kind === 'promote' && !this.#mayBecomeVoter(change.id)) {
      return { kind: 'refused', code: 'not-caught-up', leader };
    }
    return { kind: 'accepted', index: this.#appendConfiguration(next), term };
  }

  #mayBecomeVoter(id: ServerId): boolean {
    const peer = this.#peers.find(id);
    return peer?.state === 'replicate' && peer.caughtUp && this.#peers.isActive(peer);
  }

  #changeRefusal(): ChangeRefusal | undefined {
    const { role } = this.#replica;
    if (role === 'stopped') return 'stopped';
    if (role !== 'leader') return 'not-leader';
    if (this.#transfer.to !== undefined) return 'transferring';
    if (!this.#hasCommittedInTerm) return 'not-ready';
    return this.#isChangePending ? 'pending' : undefined;
  }

  /** Thesis 4.1, as corrected in 2015. */
  get #hasCommittedInTerm(): boolean {
    const { log, commitIndex, term } = this.#replica;
    return log.termAt(commitIndex) === term;
  }

  get #isChangePending(): boolean {
    const { configurations, commitIndex } = this.#replica;
    return configurations.current.index > commitIndex;
  }

  /** Joining servers become voters, one after the other, once they have caught up. */
  promoteJoining(): void {
    for (const peer of this.#peers.list) {
      if (peer.role !== 'joining' || !this.#mayBecomeVoter(peer.id)) continue;
      this.changeMembership({ kind: 'promote', id: peer.id });
      return;
    }
  }

  /** In use from now on, committed or not (thesis 4.1). */
  #appendConfiguration(configuration: Configuration): LogIndex {
    const index = this.#append({ ...this.#empty(), kind: 'configuration', configuration });
    this.#replica.configurations.append({ index, configuration });
    this.#peers.sync();
    return index;
  }

  #append(entry: Entry): LogIndex {
    this.#replica.log.append(entry);
    this.#uncommittedBytes += entryBytes(entry);
    return entry.index;
  }

  #empty(): Entry {
    const { log, term } = this.#replica;
    return {
      index: log.last + 1,
      term,
      kind: 'empty',
      payload: NO_BYTES,
      configuration: undefined,
      local: undefined,
    };
  }

  /** Whether the commit index has moved: only an entry of this term is counted (Raft 5.4.2). */
  advanceCommit(): boolean {
    const replica = this.#replica;
    const index = this.#peers.majorityIndex;
    const before = replica.commitIndex;
    if (index <= before || replica.log.termAt(index) !== replica.term) return false;
    this.#uncommittedBytes -= replica.log.bytesBetween(before + 1, index);
    return replica.commit(index);
  }

  /** This server is no voter any more, and that is committed (thesis 4.2.2). */
  get isRemoved(): boolean {
    const { configurations, id } = this.#replica;
    return !configurations.isVoter(id) && !this.#isChangePending;
  }
}
