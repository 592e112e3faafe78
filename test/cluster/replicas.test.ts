/**
 * Replicas over the real streams: what a leader proposes is applied on every node in one order, and
 * goes on when a node dies and comes back at its address.
 */

import { afterEach, describe, expect, it } from 'vitest';
import { LogDisk, RaftNode, systemClock, systemRandom } from '#raft';
import type { Configuration, Entry, StateMachine } from '#raft';
import { Log } from '../../storage/log/log.ts';
import { noCatchUp } from '../../src/shard/single-node.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { Authority, PeerNode, introduce, until } from '../support/peer-world.ts';

const IDS = ['n1', 'n2', 'n3'];
const SHARD = 7;
const authority = new Authority();
const founders: Configuration = {
  members: IDS.map((id) => ({ id, role: 'voter', address: '' })),
};

/** One node through its lives: the files stay. */
class ReplicaNode implements StateMachine {
  readonly id: string;
  #files = new MemoryFiles();
  peer: PeerNode;
  applied: string[] = [];
  readonly #texts = new Set<string>();
  node: RaftNode | undefined;

  constructor(id: string) {
    this.id = id;
    this.peer = this.#newPeer(0);
  }

  #newPeer(port: number): PeerNode {
    return new PeerNode(this.id, { tls: authority.tls('c', this.id), port });
  }

  async start(): Promise<void> {
    const made: { disk?: LogDisk } = {};
    const onFailure = (error: Error): void => made.disk?.logFailed(error);
    const { log } = await Log.open({
      files: this.#files,
      directory: '/data/log',
      now: () => 0,
      onFailure,
    });
    const disk = new LogDisk({
      log,
      note: () => ({ timestampMs: 1, recordCount: 1 }),
      openRepairs: () => Promise.resolve(undefined),
    });
    await disk.recover();
    made.disk = disk;
    this.applied = [];
    this.#texts.clear();
    this.node = await RaftNode.open({
      id: this.id,
      disk,
      network: this.peer.transport.network(SHARD, this.id),
      clock: systemClock,
      random: systemRandom,
      machine: this,
      checkpoint: { index: 0, configuration: { index: 0, configuration: founders }, serveFrom: 0 },
      catchUp: noCatchUp,
    });
    this.node.start();
  }

  /** As a process that is killed: no word to anybody. */
  async die(): Promise<number> {
    const { port } = this.peer;
    this.node?.abandon();
    this.node = undefined;
    this.#files = this.#files.crash();
    await this.peer.transport.stop();
    return port;
  }

  async comeBack(port: number): Promise<void> {
    this.peer = this.#newPeer(port);
    await this.peer.transport.start();
    await this.start();
  }

  has(text: string): boolean {
    return this.#texts.has(text);
  }

  propose(text: string): void {
    this.node?.propose(Buffer.from(text));
  }

  apply(entries: readonly Entry[]): void {
    for (const { kind, payload } of entries) {
      if (kind !== 'commands') continue;
      const text = Buffer.from(payload).toString();
      this.applied.push(text);
      this.#texts.add(text);
    }
    const last = entries.at(-1)?.index;
    if (last !== undefined) this.node?.applied(last);
  }

  roleChanged = (): void => undefined;
  configurationChanged = (): void => undefined;
  damaged = (): void => undefined;
  ended = (): void => undefined;
}

let all: ReplicaNode[] = [];

afterEach(async () => {
  for (const { node } of all) node?.abandon();
  await Promise.all(all.map(({ peer }) => peer.transport.stop()));
  all = [];
});

async function leader(): Promise<ReplicaNode> {
  const leads = ({ node }: ReplicaNode): boolean => node?.role === 'leader';
  await until(() => all.some(leads));
  return all.find(leads) ?? leader();
}

const numbered = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `entry ${from + at}`);

/**
 * As a client does: what was refused, or is not known to be applied after a change of leader, is
 * proposed again. So it is applied at least once.
 */
async function propose(texts: readonly string[]): Promise<void> {
  const missing = new Set(texts);
  while (missing.size > 0) {
    const at = await leader();
    for (const text of missing) at.propose(text);
    const wanted = [...missing];
    await until(() => at.node?.role !== 'leader' || wanted.every((text) => at.has(text)));
    for (const text of wanted) if (at.has(text)) missing.delete(text);
  }
}

/** Every node has applied the same, and all of these. */
async function agree(texts: readonly string[]): Promise<void> {
  const running = all.filter(({ node }) => node !== undefined);
  const first = running[0]?.applied ?? [];
  await until(() =>
    running.every((each) => texts.every((text) => each.has(text)) && same(each.applied, first)),
  );
}

const same = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((text, at) => text === other[at]);

describe('three replicas over the real streams', () => {
  it('apply the same, also when the leader dies and comes back', async () => {
    all = IDS.map((id) => new ReplicaNode(id));
    await Promise.all(all.map(({ peer }) => peer.transport.start()));
    introduce(...all.map(({ peer }) => peer));
    await Promise.all(all.map((each) => each.start()));
    await propose(numbered(0, 300));
    await agree(numbered(0, 300));
    const dead = await leader();
    const port = await dead.die();
    await propose(numbered(300, 200));
    await agree(numbered(0, 500));
    await dead.comeBack(port);
    introduce(...all.map(({ peer }) => peer));
    await propose(numbered(500, 100));
    await agree(numbered(0, 600));
    expect(all.map(({ node }) => node !== undefined)).toEqual([true, true, true]);
    for (const { peer } of all) {
      expect(peer.lines.all.filter(({ level }) => level === 'error')).toEqual([]);
      expect(peer.stat('peer-refused/malformed')).toBe(0);
    }
  });
});
