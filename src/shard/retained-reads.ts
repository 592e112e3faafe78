/**
 * The queue of retained messages as a replica of shard 0 tells it to its node: what is in it, as
 * far as it is applied here, whoever leads; and, where this node leads, how far it goes now, and
 * that messages of it are settled.
 *
 * A read that finds nothing new waits for the next message, or for `WAIT_MS`: who asks again and
 * again costs nothing while nothing comes. Holds nothing that outlives the process.
 */

import { AdminError, type OffsetRange } from '../broker/ports.ts';
import { MAX_RANGE } from '../machine/command.ts';
import { RETAINED_QUEUE } from '../machine/definitions.ts';
import { DEFAULT_GROUP, type LogIndex, type Offset, type QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { Applier } from './applier.ts';
import type { PlainCommand } from './codec.ts';
import type { Payloads } from './payloads.ts';
import { Peeker } from './peek.ts';
import type { Proposals } from './proposals.ts';
import type { PlainData } from './record-codec.ts';
import type { RecordLoader } from './record-loader.ts';
import {
  type KeptPart,
  RETAINED_RANGES_MAX,
  type RetainedRequest,
  keptPartData,
  storedPartData,
} from './retained-requests.ts';
import type { ShardLog } from './shard-log.ts';

export interface RetainedReadsOptions {
  readonly machine: Machine;
  readonly loader: Pick<RecordLoader, 'until'>;
  readonly payloads: Pick<Payloads, 'get' | 'fetch'>;
  readonly log: Pick<ShardLog, 'hasten'>;
  readonly applier: Pick<Applier, 'whenApplied'>;
  /** Undefined: this node does not lead. */
  lead(): RetainedLead | undefined;
}

export interface RetainedLead {
  readonly proposals: Pick<Proposals, 'plain' | 'submit'>;
  /** Resolves when all that was committed anywhere before this call is applied here. */
  readonly places: { answer(request: { readonly kind: 'barrier' }): Promise<unknown> };
}

const WAIT_MS = 10_000;
/** Of one answer. */
const MESSAGES_MAX = 512;
/** Offsets that one answer about what is kept looks at, and whose records are loaded at a time. */
const LOOKS_MAX = 65_536;
const STRETCH = 4_096;

interface Waiting {
  readonly wake: () => void;
  readonly fail: (error: Error) => void;
}

export class RetainedReads {
  readonly #options: RetainedReadsOptions;
  readonly #peeker: Peeker;
  #known: QueueId | undefined;
  #waiting: Waiting[] = [];
  #failure: Error | undefined;

  constructor(options: RetainedReadsOptions) {
    this.#options = options;
    this.#peeker = new Peeker(options);
  }

  /** Something was appended to this queue. */
  enqueued(queueId: QueueId): void {
    if (this.#waiting.length === 0 || queueId !== (this.#known ?? this.#queueId())) return;
    for (const { wake } of this.#waiting.splice(0)) wake();
  }

  /** The replica is gone. */
  fail(error: Error): void {
    this.#failure = error;
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }

  /** The body of the reply; rejects with an AdminError, or when the store failed. */
  async answer(request: RetainedRequest): Promise<PlainData> {
    switch (request.kind) {
      case 'read-retained':
        return this.#read(request);
      case 'kept-retained':
        return keptPartData(await this.#kept(request.from, request.to));
      case 'settle-retained':
        return this.#settle(request.ranges);
      case 'end-retained': {
        await this.#lead.places.answer({ kind: 'barrier' });
        return this.#end();
      }
    }
  }

  get #lead(): RetainedLead {
    const lead = this.#options.lead();
    if (lead === undefined) throw new AdminError('unavailable', 'another node leads');
    return lead;
  }

  #queueId(): QueueId | undefined {
    this.#known ??= this.#options.machine.queueNamed(RETAINED_QUEUE)?.queueId;
    return this.#known;
  }

  async #end(): Promise<number> {
    const { machine, loader } = this.#options;
    const queueId = this.#queueId();
    if (queueId === undefined) return 0;
    await loader.until(() => machine.queueKeys(queueId));
    return machine.nextOffset(queueId) ?? 0;
  }

  async #read(request: Extract<RetainedRequest, { kind: 'read-retained' }>): Promise<PlainData> {
    const { machine, loader, log } = this.#options;
    const { node, from, until } = request;
    const end = await this.#end();
    if (end < until) log.hasten?.();
    if (end <= from) await this.#next();
    const queueId = this.#queueId();
    const leads = this.#options.lead() !== undefined;
    const nothing = { next: from, leads, boot: 0, number: 0, messages: [] };
    if (queueId === undefined) return storedPartData(nothing);
    await loader.until(() => [...machine.queueKeys(queueId), ...machine.streamKeys(node)]);
    // In one turn: each of these numbers was given its offset in the same command.
    const to = machine.nextOffset(queueId) ?? 0;
    const { boot, last: number } = machine.stream(node) ?? { boot: 0, last: 0 };
    if (to <= from) return storedPartData({ ...nothing, boot, number });
    const part = await this.#peeker.peek(queueId, { from: from as Offset, max: MESSAGES_MAX });
    const behind = (part.messages.at(-1)?.offset ?? -1) + 1;
    const isCut = part.messages.length === MESSAGES_MAX;
    const next = isCut ? behind : (part.next ?? Math.max(to, behind));
    const own = next >= to ? { boot, number } : { boot: 0, number: 0 };
    return storedPartData({ next, leads, ...own, messages: part.messages });
  }

  /** Resolves with the next message, or after a while. */
  #next(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting);
        resolve();
      }, WAIT_MS).unref();
      const waiting: Waiting = {
        wake: () => {
          clearTimeout(timer);
          resolve();
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#waiting.push(waiting);
    });
  }

  async #kept(from: number, to: number): Promise<KeptPart> {
    const { machine, loader } = this.#options;
    const queueId = this.#queueId();
    const end = Math.min(to, from + LOOKS_MAX, await this.#end());
    const ranges: [from: number, to: number][] = [];
    if (queueId === undefined || end <= from) return { end: Math.max(end, from), ranges };
    for (let at = from; at < end;) {
      const until = Math.min(at + STRETCH, end);
      const begin = at;
      await loader.until(() => machine.wantedKeys(queueId, begin as Offset, until as Offset));
      for (; at < until; at++) {
        if (!machine.isWanted(queueId, at as Offset)) continue;
        const last = ranges.at(-1);
        if (last?.[1] === at) last[1] = at + 1;
        else if (ranges.length === RETAINED_RANGES_MAX) return { end: at, ranges };
        else ranges.push([at, at + 1]);
      }
    }
    return { end, ranges };
  }

  /** In one turn, so that what was told to be done first is so in the log. */
  async #settle(ranges: readonly OffsetRange[]): Promise<PlainData> {
    const { proposals } = this.#lead;
    const queueId = this.#queueId();
    if (queueId === undefined) return null;
    const of = { queueId, groupId: DEFAULT_GROUP };
    for (const [from, to] of ranges) {
      for (let at = from; at < to; at += MAX_RANGE) {
        const end = Math.min(at + MAX_RANGE, to);
        const command: PlainCommand = {
          kind: 'settle-range',
          ...of,
          from: at as Offset,
          to: end as Offset,
          cause: 'purged',
        };
        if (!proposals.plain(command, '')) {
          throw new AdminError('unavailable', 'the shard has stopped');
        }
      }
    }
    const index: LogIndex | undefined = proposals.submit();
    if (index !== undefined) await this.#options.applier.whenApplied(index);
    return null;
  }
}
