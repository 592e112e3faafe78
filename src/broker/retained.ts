/**
 * The retained message of each topic, in a tree of topic levels so that a filter finds its own
 * without looking at all.
 *
 * In memory, bounded by count and by bytes; a message for a new topic above either bound is
 * refused, one that takes the place of another is judged by what the whole would then be. Expired
 * ones are never shown, and are removed a few at a time by `sweep`. A walk is cut into steps by its
 * caller (S4): the tree may change between them. What its publisher has no right to any more is
 * kept and not shown. What outlives the process is kept elsewhere (`retained-queue.ts`), and put in
 * here as it was committed, whatever the bounds.
 *
 * MQTT 5.0 sections 3.3.1.3 and 4.7.
 */

import { keptBytes, remainingExpiry } from './message.ts';
import type { BrokerAccess, Clock, Publication, RetainedCursor } from './ports.ts';
import { LivePublication } from './publication.ts';

interface Node {
  readonly parent: Node | undefined;
  readonly level: string;
  children: Map<string, Node> | undefined;
  publication: KeptPublication | undefined;
}

/** As it is kept, with what was found of its publisher's right to it. */
export class KeptPublication extends LivePublication {
  /** Its place in the queue of retained messages; -1: it has none. */
  offset = -1;
  allowed = true;
  /** By which version of the rules; 0: not yet. */
  judgedBy = 0;
}

export interface RetainedLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export class Retained {
  readonly #clock: Clock;
  readonly #limits: RetainedLimits;
  readonly #root: Node = {
    parent: undefined,
    level: '',
    children: undefined,
    publication: undefined,
  };
  readonly #expiring = new Map<string, KeptPublication>();
  #sweepAt: Iterator<[string, KeptPublication]> | undefined;
  #count = 0;
  #bytes = 0;
  readonly #access: BrokerAccess | undefined;

  constructor(clock: Clock, limits: RetainedLimits, access?: BrokerAccess) {
    this.#clock = clock;
    this.#limits = limits;
    this.#access = access;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * An empty payload removes the topic's message [MQTT-3.3.1-6]. False: above a limit, nothing
   * changed.
   */
  set(publication: LivePublication): boolean {
    const { topic, payload } = publication.message;
    if (payload.length === 0) {
      this.#remove(topic);
      return true;
    }
    const before = this.peek(topic);
    const added = addedBytes(publication, before);
    if (before === undefined && this.#count >= this.#limits.maxMessages) return false;
    if (added > 0 && this.#bytes + added > this.#limits.maxBytes) return false;
    publication.keep();
    // A publication of its own: what goes to live subscribers now may have an encoder.
    const { message, publishedAtMs, origin } = publication;
    this.put(topic, new KeptPublication(message, publishedAtMs, { origin, owned: true }));
    return true;
  }

  /** It is so, whatever the bounds; undefined: the topic has none. */
  put(topic: string, kept: KeptPublication | undefined): void {
    if (kept === undefined) {
      this.#remove(topic);
      return;
    }
    const node = this.#make(topic);
    if (node.publication === undefined) this.#count++;
    this.#bytes += addedBytes(kept, node.publication);
    node.publication = kept;
    this.#expiring.delete(topic);
    if (kept.message.properties?.expirySeconds !== undefined) this.#expiring.set(topic, kept);
  }

  /** Also one that has expired. */
  peek(topic: string): KeptPublication | undefined {
    return this.#find(topic)?.publication;
  }

  get(topic: string): Publication | undefined {
    const publication = this.#find(topic)?.publication;
    if (publication === undefined || this.isExpired(publication)) return undefined;
    return publication;
  }

  /** By the first level of the filter. */
  mayHave(filter: string): boolean {
    const { children } = this.#root;
    if (children === undefined) return false;
    const slash = filter.indexOf('/');
    const first = slash === -1 ? filter : filter.slice(0, slash);
    return first === '+' || first === '#' || children.has(first);
  }

  cursor(filter: string): Cursor {
    return new Cursor(this, this.#root, filter);
  }

  isExpired(publication: Publication): boolean {
    const { message, publishedAtMs } = publication;
    return remainingExpiry(message, publishedAtMs, this.#clock.now()) === 0;
  }

  /** Whoever published it may still do so, or it is not shown (S6). */
  isAllowed(publication: KeptPublication): boolean {
    const { origin } = publication;
    if (this.#access === undefined || origin === undefined) return true;
    const { version } = this.#access;
    if (publication.judgedBy !== version) {
      publication.judgedBy = version;
      publication.allowed = this.#access.mayPublish(origin, publication.message.topic);
    }
    return publication.allowed;
  }

  /** Looks at up to `maxSteps` messages that have an expiry and removes the expired ones. */
  sweep(maxSteps: number, gone?: (topic: string, expired: KeptPublication) => void): void {
    for (let step = 0; step < maxSteps; step++) {
      this.#sweepAt ??= this.#expiring.entries();
      const next = this.#sweepAt.next();
      if (next.done === true) {
        this.#sweepAt = undefined;
        return;
      }
      const [topic, publication] = next.value;
      if (!this.isExpired(publication)) continue;
      this.#remove(topic);
      gone?.(topic, publication);
    }
  }

  #find(topic: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const level of topic.split('/')) {
      node = node.children?.get(level);
      if (node === undefined) return undefined;
    }
    return node;
  }

  #make(topic: string): Node {
    let node = this.#root;
    for (const level of topic.split('/')) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = { parent: node, level, children: undefined, publication: undefined };
        node.children.set(level, child);
      }
      node = child;
    }
    return node;
  }

  #remove(topic: string): void {
    let node = this.#find(topic);
    if (node?.publication === undefined) return;
    this.#count--;
    this.#bytes -= keptBytes(node.publication.message);
    node.publication = undefined;
    this.#expiring.delete(topic);
    while (
      node.parent !== undefined &&
      node.publication === undefined &&
      node.children === undefined
    ) {
      const parent: Node = node.parent;
      parent.children?.delete(node.level);
      if (parent.children?.size === 0) parent.children = undefined;
      node = parent;
    }
  }
}

function addedBytes({ message }: LivePublication, before: LivePublication | undefined): number {
  return keptBytes(message) - (before === undefined ? 0 : keptBytes(before.message));
}

interface Frame {
  /** Nodes that match the filter up to and with level `at`, or that lie under its `#`. */
  readonly nodes: Iterator<Node>;
  readonly at: number;
  readonly underHash: boolean;
}

class Cursor implements RetainedCursor {
  readonly #store: Retained;
  readonly #levels: readonly string[];
  readonly #stack: Frame[] = [];

  constructor(store: Retained, root: Node, filter: string) {
    this.#store = store;
    this.#levels = filter.split('/');
    this.#descend(root, 0);
  }

  advance(maxSteps: number): KeptPublication | 'more' | 'done' {
    for (let step = 0; step < maxSteps; step++) {
      const frame = this.#stack.at(-1);
      if (frame === undefined) return 'done';
      const next = frame.nodes.next();
      if (next.done === true) {
        this.#stack.pop();
        continue;
      }
      const node = next.value;
      let matches = true;
      if (frame.underHash) {
        if (node.children !== undefined) this.#push(node.children.values(), frame.at, true);
      } else if (frame.at + 1 < this.#levels.length) {
        // `a/#` matches `a` too.
        matches = this.#levels[frame.at + 1] === '#';
        this.#descend(node, frame.at + 1);
      }
      if (!matches || node.publication === undefined) continue;
      const { publication } = node;
      if (this.#store.isExpired(publication) || !this.#store.isAllowed(publication)) continue;
      return publication;
    }
    return 'more';
  }

  /** Pushes the children of `node` that match level `at` of the filter. */
  #descend(node: Node, at: number): void {
    const { children } = node;
    const level = this.#levels[at];
    if (children === undefined || level === undefined) return;
    if (level === '#' || level === '+') {
      const nodes = at === 0 ? withoutDollar(children.values()) : children.values();
      this.#push(nodes, at, level === '#');
      return;
    }
    const child = children.get(level);
    if (child !== undefined) this.#push([child].values(), at, false);
  }

  #push(nodes: Iterator<Node>, at: number, underHash: boolean): void {
    this.#stack.push({ nodes, at, underHash });
  }
}

/** [MQTT-4.7.2-1]: a wildcard in the first level does not match names that begin with `$`. */
function* withoutDollar(nodes: Iterable<Node>): Generator<Node, undefined> {
  for (const node of nodes) {
    if (!node.level.startsWith('$')) yield node;
  }
  return undefined;
}
