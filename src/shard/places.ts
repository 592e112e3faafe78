/**
 * What the leader of a shard answers to questions about names and shards (place-requests.ts).
 *
 * What changes something goes through the log; each of its commands has exactly one answer among
 * the effects, and they come in the order of the proposals. What only reads is answered as of the
 * moment in which it was asked: the lead is confirmed first, and what was committed until then is
 * applied, so that the queues that it changed are told before the reply. Everything here may be
 * asked again by whoever heard no answer.
 */

import { AdminError } from '../broker/ports.ts';
import { placeNameProblem } from '../machine/definitions.ts';
import type { RareEffect } from '../machine/effect.ts';
import { type LogIndex, SHARDS_MAX } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { RecordKey } from '../machine/record-data.ts';
import type { PlaceCommand } from '../machine/place-commands.ts';
import { overKeys, overKeysNeed } from './over-keys.ts';
import { type PlaceRequest, placeData, shardMapData } from './place-requests.ts';
import type { PlainData } from './record-codec.ts';

export interface PlacesOptions {
  readonly machine: Pick<
    Machine,
    'shard' | 'placeOf' | 'queueNamed' | 'shardMap' | 'definition' | 'sessions' | 'wills'
  >;
  /** Calls `action` once between two entries, when nothing is missing. */
  readonly whenLoaded: (missing: () => readonly RecordKey[], action: () => void) => Promise<void>;
  /** Throws an AdminError when nothing is taken any more. */
  readonly propose: (command: PlaceCommand) => void;
  /** `ShardLog.readIndex`. */
  readonly readIndex: (done: (index: LogIndex | undefined) => void) => void;
  /** The shard has stopped. */
  readonly closed: () => boolean;
  /** Resolves when this entry is applied; rejects when the store failed. */
  readonly applied: (index: LogIndex) => Promise<void>;
}

type PlaceAnswer = Extract<
  RareEffect,
  {
    readonly kind:
      | 'queue-placed'
      | 'placement-refused'
      | 'queue-unplaced'
      | 'names-fenced'
      | 'shard-map-set'
      | 'shard-map-refused';
  }
>;

interface Waiting {
  readonly resolve: (answer: PlaceAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** Characters of the name of a node; what it may hold is the machine's to judge. */
const NODE_LENGTH_MAX = 64;
const NAME_LENGTH_MAX = 255;
/** Asked about at once. */
const NAMES_ASKED_MAX = 1_024;
/** Too many ask at once, or the lead is being lost. */
const READ_AGAIN_MS = 20;

export class Places {
  readonly #options: PlacesOptions;
  readonly #waiting: Waiting[] = [];
  #failure: Error | undefined;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** The body of the reply; rejects with an AdminError, or when the store failed. */
  async answer(request: PlaceRequest): Promise<PlainData> {
    const { machine } = this.#options;
    const isForAny = request.kind === 'barrier' || request.kind === 'missing';
    if (!isForAny && machine.shard !== 0) {
      throw new AdminError('invalid', `shard 0 answers ${request.kind}, and this is another`);
    }
    switch (request.kind) {
      case 'barrier':
        await this.#upToNow();
        return null;
      case 'where':
        await this.#upToNow();
        return placeData(machine.placeOf(request.name));
      case 'shard-map':
        await this.#upToNow();
        return shardMapData(machine.shardMap);
      case 'missing':
        return this.#missing(request);
      case 'place':
        return this.#place(request);
      case 'unplace':
        await this.unplace(request.name, request.version);
        return null;
      case 'add-shard':
        await this.addShard(request.number, request.founders);
        return null;
      default:
        checkShards([request.number]);
        checkLength(request.node, NODE_LENGTH_MAX);
        await this.#through(request);
        return null;
    }
  }

  async addShard(number: number, founders: readonly string[]): Promise<void> {
    checkShards([number]);
    if (founders.length > SHARDS_MAX) throw new AdminError('invalid', 'so many cannot found it');
    for (const node of founders) checkLength(node, NODE_LENGTH_MAX);
    await this.#through({ kind: 'add-shard', number, founders });
  }

  async unplace(name: string, version: number): Promise<void> {
    checkLength(name, NAME_LENGTH_MAX);
    await this.#through({ kind: 'unplace-queue', name, version });
  }

  /** When it resolves, the shard makes no queue any more for a place of this version or below. */
  async fence(version: number): Promise<void> {
    await this.#through({ kind: 'fence-names', version });
  }

  /** What apply did. */
  rare(effect: RareEffect): void {
    switch (effect.kind) {
      case 'queue-placed':
      case 'placement-refused':
      case 'queue-unplaced':
      case 'names-fenced':
      case 'shard-map-set':
      case 'shard-map-refused':
        this.#waiting.shift()?.resolve(effect);
        return;
      default:
    }
  }

  /** This node leads no more, or nothing works any more. */
  fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** Behind the fence, so that none of them is made any more for a place of before. */
  async #missing({
    names,
    keys,
    fence,
  }: Extract<PlaceRequest, { kind: 'missing' }>): Promise<PlainData> {
    if (names.length + keys.length > NAMES_ASKED_MAX) {
      throw new AdminError('invalid', `more than ${NAMES_ASKED_MAX} names at once`);
    }
    if (fence > 0) await this.fence(fence);
    else await this.#upToNow();
    const { machine, whenLoaded } = this.#options;
    let over: readonly string[] = [];
    if (keys.length > 0) {
      await whenLoaded(
        () => overKeysNeed(machine, keys),
        () => {
          over = overKeys(machine, keys);
        },
      );
    }
    return [...names.filter((name) => machine.queueNamed(name) === undefined), ...over];
  }

  async #place({
    name,
    among,
    near,
  }: Extract<PlaceRequest, { kind: 'place' }>): Promise<PlainData> {
    const problem = placeNameProblem(name);
    if (problem !== undefined) throw new AdminError('invalid', problem);
    checkLength(near, NAME_LENGTH_MAX);
    checkShards(among);
    const placed = await this.#through({ kind: 'place-queue', name, among, near });
    if (placed.kind !== 'queue-placed') throw new Error(`a placement was answered ${placed.kind}`);
    return placeData(placed);
  }

  /** Rejects with an AdminError where it is refused. */
  async #through(command: PlaceCommand): Promise<PlaceAnswer> {
    this.#options.propose(command);
    const answer = await new Promise<PlaceAnswer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
    if (answer.kind === 'placement-refused' || answer.kind === 'shard-map-refused') {
      throw new AdminError('invalid', answer.detail);
    }
    return answer;
  }

  /** Not while it is not sure that this node leads; who asked asks the next leader then. */
  async #upToNow(): Promise<void> {
    const { readIndex, applied, closed } = this.#options;
    for (;;) {
      const index = await new Promise<LogIndex | undefined>((resolve) => {
        readIndex(resolve);
      });
      if (this.#failure !== undefined) throw this.#failure;
      if (closed()) throw new AdminError('unavailable', 'the shard has stopped');
      if (index !== undefined) {
        await applied(index);
        return;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, READ_AGAIN_MS);
      });
    }
  }
}

function checkLength(text: string, max: number): void {
  if (text.length > max) throw new AdminError('invalid', `a name of over ${max} characters`);
}

function checkShards(numbers: readonly number[]): void {
  const wrong = numbers.find((number) => number >= SHARDS_MAX);
  if (wrong !== undefined || numbers.length > SHARDS_MAX) {
    throw new AdminError('invalid', `shards have numbers from 0 to ${SHARDS_MAX - 1}`);
  }
}
