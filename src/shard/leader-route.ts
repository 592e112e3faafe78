/**
 * The way of this node's client to whoever leads the shard: its own shard, or another node's over a
 * link. Sessions, one after the other: each ends with the lead of the one it reached, or with the
 * link, and the client hears of it before anything of the next one.
 *
 * Batches of an earlier session that arrive late are dropped: who they were for is gone, and the
 * client says again what matters. A node that was asked and does not serve yet is asked again after
 * a while, or another one where this node only guesses who leads. What the client asks of its own
 * node (`LOCAL_SESSION`) goes nowhere else. Where this node has a replica, what another leader only
 * names is filled with its messages (`local-reads.ts`). Nothing else is kept here, and nothing else
 * of a batch is read but its session.
 */

import { LOCAL_SESSION } from './client-route.ts';
import { ClientBatch, sessionOf } from './client-frames.ts';
import type { LinkQueue } from './link-queue.ts';
import { LocalReads } from './local-reads.ts';
import type { ReplicaReads } from './local-reads.ts';
import { LinkKind } from './peer-links.ts';
import type { BatchPort } from './port.ts';
import { decodeRequest, encodeRefusal } from './requests.ts';
import type { ShardRequest } from './requests.ts';
import { SessionPort } from './session-port.ts';
import { ShardBatchWriter, hasNamed } from './shard-frames.ts';
import { CodecError, ownBytes } from './wire.ts';

/** Who serves, as far as this node knows. */
export type Lead =
  | { readonly kind: 'here' }
  | { readonly kind: 'there'; readonly node: string }
  | { readonly kind: 'nobody' };

export interface LeaderRouteOptions {
  readonly node: string;
  /** To the client. */
  readonly port: BatchPort;
  /** A session at this node's shard; false: it does not serve. */
  serve(port: BatchPort): boolean;
  /** What waits for a node; undefined: there is no link to it now. */
  link(node: string): LinkQueue | undefined;
  /** What the client asks of this node. */
  answer(request: ShardRequest): Promise<Uint8Array>;
  /**
   * Who is to be asked instead of `node`, which does not serve (`leader`: as far as it knows, ''
   * unknown) or is not reached; undefined: that one again.
   */
  instead?(node: string, leader: string): string | undefined;
  /** Numbers of sessions that no other route of this shard has; default: all. */
  readonly sessions?: { readonly first: number; readonly step: number };
  after(ms: number, action: () => void): { cancel(): void };
  /** Absent: everything is sent by the leader. */
  readonly replica?: {
    /** Undefined: it is being opened, or there is none. */
    reads(): ReplicaReads | undefined;
    /** Consumers are not served by it any more, and why. */
    told(why: string): void;
  };
}

/** A node that does not serve yet is asked again after so long. */
const ASK_AGAIN_MS = 50;

type Target =
  | { readonly kind: 'here'; readonly port: SessionPort }
  | { readonly kind: 'there'; readonly node: string; readonly queue: LinkQueue };

export class LeaderRoute {
  readonly #options: LeaderRouteOptions;
  #lead: Lead = { kind: 'nobody' };
  #target: Target | undefined;
  #session: number;
  readonly #step: number;
  #isClosed = false;
  #again: { cancel(): void } | undefined;
  readonly #reads: LocalReads;
  /** What the leader names in this session is read here. */
  #readsHere = false;
  /** A refusal that is out of date, or names another node, is followed at once; then no more. */
  #mayFollow = false;
  /** That the node leads was said again, behind the question that is under way. */
  #isConfirmed = false;

  constructor(options: LeaderRouteOptions) {
    this.#options = options;
    this.#reads = new LocalReads({
      replica: () => options.replica?.reads(),
      post: (bytes) => this.#post(bytes),
      unread: (consumer, why) => this.#unread(consumer, why),
      after: (ms, action) => options.after(ms, action),
    });
    const { first, step } = options.sessions ?? { first: 1, step: 1 };
    this.#session = first - step;
    this.#step = step;
    options.port.onBatch((bytes) => this.#take(bytes));
  }

  leads(lead: Lead): void {
    this.#lead = lead;
    const target = this.#target;
    const isSame =
      (target?.kind === 'there' && lead.kind === 'there' && target.node === lead.node) ||
      // A shard that leads again has ended its sessions itself.
      (target?.kind === 'here' && lead.kind === 'here');
    this.#mayFollow = true;
    this.#isConfirmed = isSame;
    if (isSame) return;
    this.#end();
    this.#begin();
  }

  /** Messages that were read on this node. */
  get messagesRead(): number {
    return this.#reads.messages;
  }

  /** The replica of this node can be read from now on. */
  opened(): void {
    if (this.#target?.kind === 'there' && this.#reads.isOutdated) this.#anew();
  }

  /** There is a link to this node. */
  linked(node: string): void {
    if (this.#lead.kind === 'there' && this.#lead.node === node) this.#begin();
  }

  /** The link to this node is gone. */
  unlinked(node: string): void {
    if (this.#target?.kind !== 'there' || this.#target.node !== node) return;
    this.#lost();
    if (this.#goesOn(node)) this.#askAgain();
  }

  /** Something of a leader, for the session of this number. */
  said(session: number, batch: Uint8Array): void {
    if (this.#target?.kind !== 'there' || session !== this.#session) return;
    if (this.#readsHere && hasNamed(batch)) this.#reads.named(batch);
    this.#post(batch);
  }

  /** The node that was asked does not serve, or no more; `leader` does, as far as it knows. */
  refused(session: number, leader: string): void {
    const target = this.#target;
    if (target?.kind !== 'there' || session !== this.#session) return;
    const isOther = this.#goesOn(target.node, leader);
    this.#lost();
    // The word of a lead may overtake a refusal of before it: they come over different streams.
    const isStale = this.#isConfirmed || (isOther && leader !== '');
    if (isStale && this.#mayFollow) this.#follow();
    else this.#askAgain();
  }

  close(): void {
    this.#again?.cancel();
    this.#isClosed = true;
    this.#end();
  }

  #begin(): void {
    if (this.#isClosed) return;
    this.#again?.cancel();
    this.#again = undefined;
    if (this.#target !== undefined) return;
    if (this.#lead.kind === 'here') this.#beginHere();
    else if (this.#lead.kind === 'there') this.#beginThere(this.#lead.node);
    this.#tell();
  }

  #beginHere(): void {
    const port = new SessionPort({
      say: (bytes) => this.#post(bytes),
      closed: () => this.#closedHere(port),
    });
    // Told before the shard can say anything.
    this.#session += this.#step;
    this.#target = { kind: 'here', port };
    if (this.#options.serve(port)) return;
    this.#target = undefined;
    this.#askAgain();
  }

  #beginThere(node: string): void {
    const queue = this.#options.link(node);
    if (queue === undefined) {
      if (this.#goesOn(node)) this.#askAgain();
      return;
    }
    this.#session += this.#step;
    this.#target = { kind: 'there', node, queue };
    this.#readsHere = this.#reads.begin();
    queue.say(LinkKind.begin, this.#session);
  }

  #closedHere(port: SessionPort): void {
    if (this.#target?.kind !== 'here' || this.#target.port !== port) return;
    this.#target = undefined;
    this.#tell();
    this.#askAgain();
  }

  /** The same leader, in another session. */
  #anew(): void {
    this.#end();
    this.#begin();
  }

  #unread(consumer: number | undefined, why: string): void {
    this.#options.replica?.told(why);
    if (consumer !== undefined) {
      const writer = new ShardBatchWriter(64);
      writer.unread(consumer);
      this.#post(writer.take());
    }
    this.#anew();
  }

  #lost(): void {
    this.#target = undefined;
    this.#stopReads();
    this.#tell();
  }

  #stopReads(): void {
    this.#readsHere = false;
    this.#reads.end();
  }

  #end(): void {
    const target = this.#target;
    this.#target = undefined;
    this.#stopReads();
    if (target?.kind === 'here') target.port.end();
    if (target?.kind === 'there') target.queue.say(LinkKind.end, this.#session);
  }

  /** True: another node is asked next. */
  #goesOn(node: string, leader = ''): boolean {
    const other = this.#options.instead?.(node, leader);
    if (other !== undefined) this.#lead = { kind: 'there', node: other };
    return other !== undefined;
  }

  /** Once: two nodes that name each other would be asked without an end. */
  #follow(): void {
    this.#mayFollow = false;
    this.#isConfirmed = false;
    this.#begin();
  }

  #askAgain(): void {
    if (this.#isClosed) return;
    this.#again ??= this.#options.after(ASK_AGAIN_MS, () => {
      this.#mayFollow = true;
      this.#begin();
    });
  }

  /** Alone in its batch. */
  #tell(): void {
    const { node } = this.#options;
    const lead = this.#lead;
    const leader = lead.kind === 'here' ? node : lead.kind === 'there' ? lead.node : '';
    const writer = new ShardBatchWriter(64);
    writer.session(this.#target === undefined ? 0 : this.#session, leader, this.#readsHere);
    this.#post(writer.take());
  }

  #take(bytes: Uint8Array): void {
    const session = sessionOf(bytes);
    if (session === LOCAL_SESSION) this.#takeLocal(bytes);
    const target = this.#target;
    if (target === undefined || session !== this.#session) return;
    if (target.kind === 'here') target.port.take(bytes);
    else target.queue.say(LinkKind.batch, this.#session, bytes);
  }

  #takeLocal(bytes: Uint8Array): void {
    const batch = new ClientBatch(bytes);
    this.#reads.taken(batch.takenBytes);
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      if (frame.kind === 'close') {
        this.#reads.forget(frame.consumer);
        continue;
      }
      if (frame.kind !== 'request') throw new CodecError('unknown-kind', 'no request of this node');
      const { id } = frame;
      this.#options.answer(decodeRequest(frame.body)).then(
        (body) => this.#reply(id, true, body),
        (error: unknown) => this.#reply(id, false, encodeRefusal(error)),
      );
    }
  }

  #reply(id: number, accepted: boolean, body: Uint8Array): void {
    const writer = new ShardBatchWriter(256);
    writer.reply(id, accepted, body);
    this.#post(writer.take());
  }

  /** The port takes the memory, so that it must be the batch's alone. */
  #post(bytes: Uint8Array): void {
    const isAlone = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
    this.#options.port.post(isAlone ? bytes : ownBytes(bytes));
  }
}
