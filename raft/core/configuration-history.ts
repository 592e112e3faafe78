/**
 * The configurations of this replica's log, oldest first. The newest one is in use, committed or
 * not: a server uses the latest configuration in its log (thesis 4.1).
 *
 * Cut from both ends with the log: a truncated entry takes its configuration with it, and the one
 * before comes back.
 */

import { assert } from './assert.ts';
import { votersOf } from './configuration.ts';
import type { ConfigurationAt } from './configuration.ts';
import type { LogIndex, ServerId } from './ids.ts';

export class ConfigurationHistory {
  #history: ConfigurationAt[];
  #voters: readonly ServerId[];

  constructor(history: readonly ConfigurationAt[]) {
    assert(history.length > 0, 'there is a configuration to start with');
    this.#history = [...history];
    this.#voters = votersOf(this.current.configuration);
  }

  get current(): ConfigurationAt {
    const newest = this.#history[this.#history.length - 1];
    assert(newest !== undefined, 'there is always a configuration');
    return newest;
  }

  /** Of the one in use; sorted. */
  get voters(): readonly ServerId[] {
    return this.#voters;
  }

  isVoter(id: ServerId): boolean {
    return this.#voters.includes(id);
  }

  isSoleVoter(id: ServerId): boolean {
    return this.#voters.length === 1 && this.#voters[0] === id;
  }

  /** Voter of the configuration before the one in use. */
  wasVoter(id: ServerId): boolean {
    const before = this.#history[this.#history.length - 2];
    return before !== undefined && votersOf(before.configuration).includes(id);
  }

  at(index: LogIndex): ConfigurationAt {
    let found = this.#history[0];
    for (const entry of this.#history) if (entry.index <= index) found = entry;
    assert(found !== undefined && found.index <= index, 'the configuration is still known');
    return found;
  }

  append(next: ConfigurationAt): void {
    assert(next.index > this.current.index, 'configurations follow the log');
    this.#history.push(next);
    this.#voters = votersOf(next.configuration);
  }

  /** One whose entry was damaged until now. */
  repair(found: ConfigurationAt): void {
    const earlier = this.#history.filter(({ index }) => index < found.index);
    const later = this.#history.filter(({ index }) => index > found.index);
    this.#history = [...earlier, found, ...later];
    this.#voters = votersOf(this.current.configuration);
  }

  truncateSuffix(lastKept: LogIndex): void {
    while (this.#history.length > 1 && this.current.index > lastKept) this.#history.pop();
    this.#voters = votersOf(this.current.configuration);
  }

  /** Forgets those that were replaced before `firstKept`. */
  truncatePrefix(firstKept: LogIndex): void {
    while ((this.#history[1]?.index ?? Infinity) < firstKept) this.#history.shift();
  }

  /**
   * A checkpoint takes the place of everything up to its index. What was in use before stays known
   * until the log is cut there: the owner may still be storing the state that it has.
   */
  install(installed: ConfigurationAt, checkpoint: LogIndex, keepLater: boolean): void {
    const earlier = this.#history.filter(({ index }) => index < installed.index);
    const later = keepLater ? this.#history.filter(({ index }) => index > checkpoint) : [];
    this.#history = [...earlier, installed, ...later];
    this.#voters = votersOf(this.current.configuration);
  }
}
