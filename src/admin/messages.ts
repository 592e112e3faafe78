/**
 * The messages of proto/admin.proto as objects, and the services as @grpc/grpc-js wants them,
 * loaded from the `.proto` file itself: what is on the wire is written down once.
 *
 * The types here are what the loader makes of the file with the options below; whether a value is
 * sensible is for `convert.ts` to say. A message of the loader has every field that is not
 * `optional`, with its default.
 */

import { fileURLToPath } from 'node:url';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ClusterCalls } from './cluster-messages.ts';

export interface WireRetryLimits {
  readonly minMs: number;
  readonly maxMs: number;
  readonly multiplier: number;
  readonly jitter: number;
}

export interface WireRetentionLimits {
  readonly ageMs: number;
  readonly bytes: number;
  readonly messages: number;
}

export interface WireLimits {
  readonly retry: WireRetryLimits | null;
  readonly deliveryLimit: number;
  readonly visibilityTimeoutMs: number;
  readonly maxUnsettledSpan: number;
  readonly defaultGroup: string;
  readonly groupStart: string;
  readonly groupExpiresMs: number;
  readonly maxGroups: number;
  readonly ttlMs: number;
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly overflow: string;
  readonly retention: WireRetentionLimits | null;
  readonly deadLetter: string;
  readonly singleActiveConsumer: boolean;
  readonly maxPriority: number;
  readonly maxProducers: number;
  readonly producerExpiresMs: number;
  readonly expiresMs: number;
  readonly capture: string;
}

export interface WireDefinition {
  readonly name: string;
  readonly type: string;
  readonly topics: readonly string[];
  readonly limits: WireLimits | null;
}

export interface WireSummary {
  readonly queueId: number;
  readonly definition: WireDefinition | null;
  readonly start: number;
  readonly next: number;
  readonly depth: number;
  readonly consumers: number;
  readonly leaving: number;
}

export interface WireGroup {
  readonly name: string;
  readonly kind: string;
  readonly filter: string;
  readonly floor: number;
  readonly depth: number;
  readonly delivered: number;
  readonly consumers: number;
  readonly stuck?: number;
  readonly lost: { readonly first: number; readonly last: number } | null;
}

export interface WireDetail {
  readonly summary: WireSummary | null;
  readonly groups: readonly WireGroup[];
  readonly heldBy: { readonly group: string; readonly offset: number } | null;
  readonly damaged: readonly { readonly first: number; readonly last: number }[];
}

export interface WireProperties {
  readonly contentType?: string;
  readonly correlationId?: Uint8Array;
  readonly replyTo?: string;
  readonly messageId?: string;
  readonly userProperties: readonly { readonly name: string; readonly value: string }[];
  readonly expirySeconds?: number;
  readonly priority?: number;
  readonly timestampMs?: number;
  readonly payloadIsText?: boolean;
}

export interface WireMessage {
  readonly offset: number;
  readonly clientId: string;
  readonly user?: string | undefined;
  readonly protocol: string;
  readonly publishedAtMs: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
  readonly properties: WireProperties | null;
}

interface Call<Request, Reply> {
  readonly request: Request;
  readonly reply: Reply;
}

type Done = Readonly<Record<never, never>>;
type CountReply = { readonly count: number };
type GroupRequest = { readonly name: string; readonly group: string };

/** Every call of both services, with what goes in and what comes back. */
export interface AdminCalls extends ClusterCalls {
  readonly List: Call<
    { readonly after: string; readonly max: number },
    { readonly queues: readonly WireSummary[]; readonly end: boolean }
  >;
  readonly Show: Call<{ readonly name: string }, WireDetail>;
  readonly Declare: Call<WireDefinition, { readonly outcome: string }>;
  readonly Delete: Call<{ readonly name: string }, Done>;
  readonly Purge: Call<{ readonly name: string; readonly group?: string }, CountReply>;
  readonly Peek: Call<
    { readonly name: string; readonly from: number; readonly max: number },
    { readonly messages: readonly WireMessage[] }
  >;
  readonly Move: Call<GroupRequest & { readonly to: string; readonly max: number }, CountReply>;
  readonly Seek: Call<
    GroupRequest & { readonly kind: string; readonly offset: number; readonly timeMs: number },
    { readonly floor: number }
  >;
  readonly DeleteGroup: Call<GroupRequest, Done>;
}

export type AdminCall = keyof AdminCalls;

/** One request, and its reply. */
export type AdminCaller = <Name extends AdminCall>(
  name: Name,
  request: AdminCalls[Name]['request'],
) => Promise<AdminCalls[Name]['reply']>;

export type AnyMethod = MethodDefinition<object, object>;

const SERVICES = ['fluxmq.admin.v1.QueueAdmin', 'fluxmq.admin.v1.ClusterAdmin'];

/** Beside the sources or, compiled, beside the folder of what was compiled. */
function protoFile(): string {
  const up = import.meta.url.endsWith('.ts') ? '../../' : '../../../';
  return fileURLToPath(new URL(`${up}proto/admin.proto`, import.meta.url));
}

let loaded: ServiceDefinition | undefined;

/** The calls of both services, whose paths differ. Reads the file once, at the first use. */
export function adminService(): ServiceDefinition {
  if (loaded === undefined) {
    const all = loadSync(protoFile(), {
      // Numbers that are whole and below 2^53; the checks refuse what is above.
      longs: Number,
      defaults: true,
      arrays: true,
    });
    loaded = Object.assign({}, ...SERVICES.map((name) => all[name])) as ServiceDefinition;
  }
  return loaded;
}

export function methodOf(call: AdminCall): AnyMethod {
  const method = adminService()[call];
  if (method === undefined) throw new Error(`proto/admin.proto has no call ${call}`);
  return method as AnyMethod;
}
