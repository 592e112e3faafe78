/**
 * What the main thread and the thread of the shards say to each other beside the batches: plain
 * data.
 */

import type { MessagePort } from 'node:worker_threads';
import { STORAGE_ERROR_CODES, StorageError } from '#storage';
import type {
  ClusterAdmin,
  ClusterAnswer,
  MemberChange,
  NodeStatus,
  RescueWish,
} from './admin/cluster-port.ts';
import type { ShardSettings } from './options.ts';
import type { OthersAsk, OthersTold } from './others-talk.ts';
import { PeerStartError } from './peer-start-error.ts';
import { DeclarationError } from './shard/declarations.ts';

export interface WorkerInput {
  readonly settings: ShardSettings;
  /** Of shard 0. */
  readonly port: MessagePort;
  /** Of the shard whose queues live in memory. */
  readonly volatilePort: MessagePort;
  /** Where the thread tells of itself: `src/ops/thread-pulse.ts`. */
  readonly pulse: SharedArrayBuffer;
}

/** An error that crossed a thread: what kind it was, and its words. */
export interface Refusal {
  readonly kind: string;
  readonly message: string;
  readonly stack?: string;
}

export type WorkerSays =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'stopped' }
  /** There is a shard beside shard 0, and this is the way to it. */
  | { readonly kind: 'shard'; readonly number: number; readonly port: MessagePort }
  /** A shard asks others, through the clients of the main thread. */
  | {
      readonly kind: 'ask-others';
      readonly id: number;
      readonly shard: number;
      readonly ask: OthersAsk;
    }
  | { readonly kind: 'told'; readonly id: number; readonly told: Told<Ask['kind']> }
  | { readonly kind: 'not-told'; readonly id: number; readonly refusal: Refusal };

export type WorkerHears =
  | { readonly kind: 'stop' }
  | { readonly kind: 'others-told'; readonly id: number; readonly told: OthersTold }
  | { readonly kind: 'others-failed'; readonly id: number; readonly refusal: Refusal }
  | { readonly kind: 'ask'; readonly id: number; readonly ask: Ask };

/** What can be asked of the thread whoever leads its shards. */
export type Ask =
  | { readonly kind: 'stats' }
  | { readonly kind: 'status' }
  | { readonly kind: 'change'; readonly shard: number; readonly change: MemberChange }
  | { readonly kind: 'transfer'; readonly shard: number; readonly to: string }
  | { readonly kind: 'rescue'; readonly shard: number; readonly wish: RescueWish }
  | { readonly kind: 'add-shard'; readonly shard: number }
  | {
      readonly kind: 'host';
      readonly shard: number;
      readonly node: string;
      readonly isHost: boolean;
    };

interface Answers {
  readonly stats: Map<string, number>;
  readonly status: NodeStatus;
  readonly change: ClusterAnswer;
  readonly transfer: ClusterAnswer;
  readonly rescue: ClusterAnswer;
  readonly 'add-shard': ClusterAnswer;
  readonly host: ClusterAnswer;
}
type Told<Kind extends Ask['kind']> = Answers[Kind];

/** How one side asks the other. */
export type Asks = <Kind extends Ask['kind']>(
  ask: Extract<Ask, { kind: Kind }>,
) => Promise<Told<Kind>>;

/** What a thread of shards has for whoever asks. */
export interface Asked {
  readonly cluster: ClusterAdmin;
  stats(): Promise<Map<string, number>>;
}

export function answerTo(asked: Asked, ask: Ask): Promise<Told<Ask['kind']>> {
  const { cluster } = asked;
  switch (ask.kind) {
    case 'stats':
      return asked.stats();
    case 'status':
      return cluster.status();
    case 'change':
      return cluster.change(ask.shard, ask.change);
    case 'transfer':
      return cluster.transfer(ask.shard, ask.to);
    case 'rescue':
      return cluster.rescue(ask.shard, ask.wish);
    case 'add-shard':
      return cluster.addShard(ask.shard);
    case 'host':
      return cluster.host(ask.shard, ask.node, ask.isHost);
  }
}

export function askedOver(asks: Asks): Asked {
  return {
    stats: () => asks({ kind: 'stats' }),
    cluster: {
      status: () => asks({ kind: 'status' }),
      change: (shard, change) => asks({ kind: 'change', shard, change }),
      transfer: (shard, to) => asks({ kind: 'transfer', shard, to }),
      rescue: (shard, wish) => asks({ kind: 'rescue', shard, wish }),
      addShard: (shard) => asks({ kind: 'add-shard', shard }),
      host: (shard, node, isHost) => asks({ kind: 'host', shard, node, isHost }),
    },
  };
}

export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof Error)) return { kind: 'unexpected', message: String(error) };
  const { message, stack } = error;
  const kind =
    error instanceof StorageError
      ? error.code
      : error instanceof DeclarationError
        ? `declaration ${error.code}`
        : error instanceof PeerStartError
          ? `${PEERS} ${error.key}`
          : (systemCode(error) ?? 'unexpected');
  return { kind, message, ...(stack === undefined ? {} : { stack }) };
}

/** The error that it was, for those kinds that somebody tells apart. */
export function errorOf(refusal: Refusal): Error {
  const { kind, message, stack } = refusal;
  const code = STORAGE_ERROR_CODES.find((each) => each === kind);
  if (code !== undefined) return new StorageError(code, message);
  if (kind === 'declaration exists') return new DeclarationError('exists', message);
  if (kind === 'declaration invalid') return new DeclarationError('invalid', message);
  if (kind.startsWith(`${PEERS} `))
    return new PeerStartError(kind.slice(PEERS.length + 1), message);
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return SYSTEM_CODE.test(kind) ? Object.assign(error, { code: kind }) : error;
}

/**
 * `ENOENT`, `EACCES` and their like: what the operating system says; undefined for everything else.
 */
export function systemCode(error: Error): string | undefined {
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' && SYSTEM_CODE.test(code) ? code : undefined;
}

const PEERS = 'peers';
const SYSTEM_CODE = /^E[A-Z0-9]+$/;
