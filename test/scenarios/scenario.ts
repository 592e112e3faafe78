/**
 * Runs a scenario: a text of prose (`#`), commands (`>`), and below each command what the servers
 * do because of it, indented. The result is the same text with the trace as it came out, so that a
 * scenario is right if it does not change.
 *
 * The commands are listed in README.md. After each one the invariants of Raft are checked as well.
 */

import type { MembershipChange, Message } from '#raft';
import { Cluster, encode, voter } from '../raft/core/cluster.ts';
import type { TestServer } from '../raft/core/cluster.ts';
import { entries as entriesOf } from '../raft/core/messages.ts';
import { Invariants } from '../raft/core/invariants.ts';
import { entryText, messageText, readyLines } from './trace.ts';

type Words = readonly string[];
const INDENT = '    ';

export class Scenario {
  #cluster = new Cluster({ servers: [] });
  #invariants = new Invariants(this.#cluster);
  #lines: string[] = [];
  readonly #shown = { sessions: false, messages: true };
  readonly #saved = new Map<string, Message>();
  readonly #commands: Readonly<Record<string, (words: Words) => void>> = {
    cluster: (words) => this.#begin(words),
    tick: ([id, count]) => this.#cluster.tick(name(id), Number(count ?? 1)),
    wait: ([id, count]) => this.#quietly(() => this.#cluster.tick(name(id), Number(count))),
    term: ([id, term]) => this.#setTerm(name(id), Number(term)),
    timeout: ([id]) => this.#timeOut(name(id)),
    elect: ([id]) => this.#quietly(() => this.#elect(name(id))),
    settle: () => this.#quietly(() => this.#cluster.settle()),
    pass: ([ticks]) => this.#quietly(() => this.#cluster.pass(Number(ticks))),
    propose: ([id, ...text]) => this.#propose(name(id), text.join(' ')),
    deliver: (words) => this.#deliver(words),
    drop: (words) => this.#drop(words),
    save: ([as, ...words]) => this.#save(name(as), words),
    replay: ([as]) => this.#replay(name(as)),
    sync: ([id, count]) => this.#sync(name(id), Number(count ?? Infinity)),
    crash: ([id]) => this.#cluster.crash(name(id)),
    restart: ([id]) => this.#restart(name(id)),
    fail: ([id]) => this.#fail(name(id)),
    cut: ([link]) => this.#cut(name(link)),
    heal: () => this.#cluster.heal(),
    read: ([id, number]) => this.#read(name(id), Number(number)),
    transfer: ([id, to]) => this.#transfer(name(id), name(to)),
    change: (words) => this.#change(words),
    hold: ([id]) => this.#hold(name(id), true),
    apply: ([id]) => this.#hold(name(id), false),
    compact: ([id]) => this.#compact(name(id)),
    checkpoint: ([from, to]) => this.#checkpoint(name(from), name(to)),
    wipe: ([id]) => this.#wipe(name(id)),
    damage: ([id, index]) => this.#damage(name(id), Number(index)),
    logs: () => this.#logs(),
    peers: ([id]) => this.#peers(name(id)),
  };

  /** The text with its trace as it is now. */
  run(text: string): string {
    const result: string[] = [];
    for (const line of text.split('\n')) {
      if (line.startsWith(INDENT)) continue;
      result.push(line);
      if (!line.startsWith('> ')) continue;
      this.#lines = [];
      this.#command(line.slice(2).trim());
      result.push(...this.#lines.map((traced) => `${INDENT}${traced}`));
    }
    return result.join('\n');
  }

  #command(line: string): void {
    const [verb = '', ...words] = line.split(/\s+/);
    const command = this.#commands[verb];
    if (command === undefined) throw new Error(`no command '${verb}' in '${line}'`);
    command(words);
    for (const { id, isUp } of this.#cluster.servers) if (isUp) this.#cluster.run(id);
    this.#invariants.check();
  }

  #say(line: string): void {
    this.#lines.push(line);
  }

  /** Without messages and writes. */
  #quietly(action: () => void): void {
    this.#shown.messages = false;
    action();
    this.#shown.messages = true;
  }

  /** `cluster a b c d? [limit=number] [sessions]`; `?` marks a learner. */
  #begin(words: Words): void {
    const limits = words.filter((word) => word.includes('='));
    const names = words.filter((word) => /^[a-z]\??$/.test(word));
    this.#shown.sessions = words.includes('sessions');
    const members = names.map((word) =>
      word.endsWith('?') ? { ...voter(word.slice(0, 1)), role: 'learner' as const } : voter(word),
    );
    this.#cluster = new Cluster({
      servers: names.map((word) => word.slice(0, 1)),
      members,
      limits: Object.fromEntries(
        limits.map((word) => [word.split('=')[0], Number(word.split('=')[1])]),
      ),
    });
    this.#invariants = new Invariants(this.#cluster);
    const check = this.#cluster.onReady;
    this.#cluster.onReady = (server, ready) => {
      for (const line of readyLines(server.id, ready, this.#shown)) this.#say(line);
      check?.(server, ready);
    };
  }

  #server(id: string): TestServer {
    const known = this.#cluster.servers.find((server) => server.id === id);
    return known ?? this.#cluster.add(id);
  }

  #timeOut(id: string): void {
    const { raft } = this.#server(id);
    const { role, term } = raft;
    for (let ticks = 0; ticks < 40; ticks += 1) {
      this.#cluster.tick(id);
      if (raft.term !== term || (raft.role === 'preCandidate' && role !== 'preCandidate')) return;
    }
    this.#say(`${id} does not stand`);
  }

  /** It has voted for itself in this term, at some other time. */
  #setTerm(id: string, term: number): void {
    this.#cluster.crash(id);
    this.#server(id).disk.hardState = { term, vote: id };
    this.#restart(id);
  }

  #elect(id: string): void {
    try {
      this.#cluster.elect(id);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes('not elected')) throw error;
      this.#say(error.message);
    }
  }

  #propose(id: string, text: string): void {
    const proposed = this.#cluster.raft(id).propose(encode(text));
    if (proposed.kind === 'refused') this.#say(`refused: ${proposed.code}`);
    else this.#say(`accepted at ${proposed.index}/${proposed.term}`);
  }

  /** `a>b`, `a>`, `>b` or `all`, and words that the message's text has to hold. */
  #matching([link = 'all', ...words]: Words): Message[] {
    const [from = '', to = ''] = link === 'all' ? [] : link.split('>');
    const found = this.#cluster.network.filter((message) => {
      if (from !== '' && message.from !== from) return false;
      if (to !== '' && message.to !== to) return false;
      const text = messageText(message, this.#shown);
      return words.every((word) => text.includes(word));
    });
    if (found.length === 0) this.#say('nothing is on its way there');
    return found;
  }

  #deliver(words: Words): void {
    for (const message of this.#matching(words)) {
      this.#cluster.deliver(this.#cluster.network.indexOf(message));
    }
  }

  #drop(words: Words): void {
    const dropped = new Set(this.#matching(words));
    this.#cluster.network = this.#cluster.network.filter((message) => !dropped.has(message));
  }

  /** A copy, to be delivered another day. */
  #save(as: string, words: Words): void {
    const [message] = this.#matching(words);
    if (message !== undefined) this.#saved.set(as, message);
  }

  #replay(as: string): void {
    const message = this.#saved.get(as);
    if (message === undefined) throw new Error(`nothing was saved as ${as}`);
    this.#say(messageText(message, this.#shown));
    this.#cluster.inject(message);
  }

  #sync(id: string, count: number): void {
    if (!this.#cluster.sync(id, count)) this.#say('nothing is being written');
    this.#cluster.run(id);
  }

  #restart(id: string): void {
    this.#cluster.restart(id);
    this.#invariants.restarted(id);
  }

  #fail(id: string): void {
    this.#cluster.raft(id).persistFailed();
  }

  #cut(link: string): void {
    if (link.includes('>')) this.#cluster.cut.add(link);
    else this.#cluster.isolate(link);
  }

  #read(id: string, number: number): void {
    this.#invariants.asked(number);
    this.#cluster.raft(id).readIndex(number);
  }

  #transfer(id: string, to: string): void {
    const outcome = this.#cluster.raft(id).transferLeadership(to);
    this.#say(outcome.kind === 'refused' ? `refused: ${outcome.code}` : 'started');
  }

  /** `change a add d learner`, `change a promote|demote|remove d`. */
  #change([id, kind, who, role]: Words): void {
    this.#server(name(who));
    const outcome = this.#cluster
      .raft(name(id))
      .changeMembership(changeOf(name(kind), name(who), role));
    if (outcome.kind === 'refused') this.#say(`refused: ${outcome.code}`);
    else this.#say(`accepted at ${outcome.index}/${outcome.term}`);
  }

  #hold(id: string, isHeld: boolean): void {
    this.#server(id).isApplyHeld = isHeld;
    if (!isHeld) this.#cluster.apply(id);
  }

  #compact(id: string): void {
    this.#invariants.forget(id);
    this.#cluster.compact(id);
    this.#say(`${id} has a checkpoint at ${this.#server(id).disk.checkpoint.index}`);
  }

  #checkpoint(from: string, to: string): void {
    const outcome = this.#cluster.transfer(from, to);
    this.#say(outcome.kind === 'refused' ? `refused: ${outcome.code}` : 'accepted');
  }

  /** Its disk is lost; it comes back with nothing. */
  #wipe(id: string): void {
    this.#cluster.crash(id);
    const { disk } = this.#server(id);
    disk.entries = entriesOf();
    disk.hardState = { term: 0, vote: undefined };
    disk.start = 1;
    disk.termBeforeStart = 0;
    disk.checkpoint = {
      index: 0,
      term: 0,
      configuration: { index: 0, configuration: { members: [] } },
      applied: [],
      serveFrom: 0,
    };
    this.#restart(id);
  }

  /** Found by a read: the entry cannot be read any more. */
  #damage(id: string, index: number): void {
    this.#cluster.raft(id).damaged({ from: index, through: index });
  }

  /** What is on each disk, and behind `+` what is not synced yet. */
  #logs(): void {
    for (const { id, disk, writes, isUp } of this.#cluster.servers) {
      const parts = disk.entries.map(entryText);
      if (disk.checkpoint.index > 0) parts.unshift(`..${disk.checkpoint.index}`);
      const pending = writes.flatMap(({ entries }) =>
        entries.map((entry) => `+${entryText(entry)}`),
      );
      this.#say(`${id}${isUp ? '' : ' (down)'}: ${[...parts, ...pending].join(' | ')}`);
    }
  }

  #peers(id: string): void {
    for (const { id: peer, state, matchIndex, nextIndex, session } of this.#cluster
      .raft(id)
      .status().peers) {
      const of = this.#shown.sessions ? ` session ${session}` : '';
      this.#say(`${peer}: ${state}${of}, match ${matchIndex}, next ${nextIndex}`);
    }
  }
}

function name(word: string | undefined): string {
  if (word === undefined || word === '') throw new Error('a word is missing in the command');
  return word;
}

function changeOf(kind: string, id: string, role: string | undefined): MembershipChange {
  switch (kind) {
    case 'add':
      return { kind, id, address: id, role: role === 'joining' ? 'joining' : 'learner' };
    case 'promote':
    case 'demote':
    case 'remove':
      return { kind, id };
    default:
      throw new Error(`no change '${kind}'`);
  }
}
