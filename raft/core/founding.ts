/**
 * How a cluster begins, and how a server that lost its disk is told from one that never had any
 * (thesis 11.7.2: a server without its disk is another server).
 *
 * A founder with an empty log is *blank*: nobody can say whether it is new, or has voted and
 * acknowledged and forgotten it. So each log that a founder begins with has a name of its own, its
 * incarnation. The first leader of all needs the vote of every founder, each with its incarnation,
 * and its first entry is the configuration that names them. From then on the vote of a blank server
 * counts only under the incarnation that the cluster knows, and a blank server that is known by
 * another one is a *stranger*: it must not take an entry, and ends.
 *
 *   1. b votes in term 5, b's disk is lost, b comes back as it came the first time, with a new log.
 *   2. It votes again in term 5: who asks knows b by the other log, and does not count it.
 *   3. A leader sends it the beginning of the log: it reads that b had another one, and stops.
 *   4. It cannot begin another cluster with who is blank: those who have a log refuse their votes.
 */

import type { Configuration, ConfigurationAt, Member } from './configuration.ts';
import type { Entry } from './entry.ts';
import type { ServerId } from './ids.ts';
import type { Replica } from './replica.ts';

const NO_NAME = '';

interface Founder {
  readonly id: ServerId;
  readonly incarnation: string;
}

export class Founding {
  readonly #replica: Replica;
  /** Who has granted a blank candidate its vote. */
  #founders: Founder[] = [];

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get isBlank(): boolean {
    return this.#replica.isBlank;
  }

  /** For its votes: empty once its log says who it is. */
  get incarnation(): string {
    return this.isBlank ? (this.#replica.incarnation ?? NO_NAME) : NO_NAME;
  }

  begin(): void {
    this.#founders = [];
  }

  /** Whether this vote counts. */
  takes(from: ServerId, incarnation: string): boolean {
    if (!this.isBlank) return incarnation === NO_NAME || this.#member(from) === incarnation;
    if (incarnation === NO_NAME) return false;
    const known = this.#founders.find(({ id }) => id === from);
    if (known !== undefined) return known.incarnation === incarnation;
    this.#founders.push({ id: from, incarnation });
    return true;
  }

  #member(id: ServerId): string | undefined {
    const { members } = this.#replica.configurations.current.configuration;
    return members.find((member) => member.id === id)?.incarnation;
  }

  /** Of the cluster that begins with this leader; undefined where it has begun. */
  get configuration(): Configuration | undefined {
    if (!this.isBlank) return undefined;
    const { members } = this.#replica.configurations.current.configuration;
    return { members: members.map((member) => this.#named(member)) };
  }

  #named(member: Member): Member {
    const incarnation = this.#founders.find(({ id }) => id === member.id)?.incarnation;
    return incarnation === undefined ? member : { ...member, incarnation };
  }

  /** Whether the entries may be the first ones of this log; a stranger is noted. */
  mayBegin([first]: readonly Entry[]): boolean {
    if (!this.isBlank || first === undefined) return true;
    return this.meets(first.configuration);
  }

  /** What the cluster knows of its members; a stranger is noted. */
  meets(configuration: ConfigurationAt['configuration'] | undefined): boolean {
    const replica = this.#replica;
    if (!this.isBlank) return true;
    const known = configuration?.members.find(({ id }) => id === replica.id);
    const isFounder = replica.configurations.current.configuration.members.some(
      ({ id }) => id === replica.id,
    );
    if (configuration !== undefined && known === undefined) return true;
    if (!isFounder || known?.incarnation === replica.incarnation) return true;
    replica.isStranger = true;
    return false;
  }
}
