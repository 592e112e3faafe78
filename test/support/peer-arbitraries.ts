/** Messages between replicas, of every kind, for tests that try many of them. */

import { fc } from './properties.ts';
import type { Configuration, Entry, PeerMessage } from '#raft';

const node = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const serverId = fc.oneof(
  node,
  fc.tuple(node, fc.integer({ min: 1, max: 10 ** 15 - 1 })).map(([name, n]) => `${name}+${n}`),
);
const number = fc.maxSafeNat();
const term = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const bytes = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 2_000 }));

const configuration: fc.Arbitrary<Configuration> = fc
  .array(
    fc.record({
      id: serverId,
      role: fc.constantFrom('voter', 'learner', 'joining'),
      address: fc.string({ unit: 'grapheme' }),
    }),
    { maxLength: 5 },
  )
  .map((members) => ({ members }));

const NOTHING = new Uint8Array(0);

const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({
    index: number,
    term,
    kind: fc.constant('commands' as const),
    payload: bytes,
    configuration: fc.constant(undefined),
    local: fc.constant(undefined),
  }),
  fc.record({
    index: number,
    term,
    kind: fc.constant('configuration' as const),
    payload: fc.constant(NOTHING),
    configuration,
    local: fc.constant(undefined),
  }),
  fc.record({
    index: number,
    term,
    kind: fc.constant('empty' as const),
    payload: fc.constant(NOTHING),
    configuration: fc.constant(undefined),
    local: fc.constant(undefined),
  }),
);
const entries = fc.array(entry, { maxLength: 6 });

type Fields<K extends PeerMessage['kind']> = Omit<
  Extract<PeerMessage, { readonly kind: K }>,
  'kind' | 'from' | 'to' | 'term'
>;
type Arbitraries<K extends PeerMessage['kind']> = {
  readonly [Name in keyof Fields<K>]: fc.Arbitrary<Fields<K>[Name]>;
};

function message<K extends PeerMessage['kind']>(
  kind: K,
  fields: Arbitraries<K>,
): fc.Arbitrary<PeerMessage> {
  const head = { kind: fc.constant(kind), from: serverId, to: serverId, term };
  return fc.record({ ...head, ...fields }) as unknown as fc.Arbitrary<PeerMessage>;
}

const flag = fc.boolean();
const catchUp = { session: number, transfer: number };

/** One for each kind. */
export const MESSAGES: { readonly [K in PeerMessage['kind']]: fc.Arbitrary<PeerMessage> } = {
  requestVote: message('requestVote', {
    lastLogIndex: number,
    lastLogTerm: term,
    preVote: flag,
    transfer: flag,
  }),
  requestVoteReply: message('requestVoteReply', {
    voteGranted: flag,
    preVote: flag,
    incarnation: fc.stringMatching(/^[0-9a-f]{0,16}$/),
  }),
  appendEntries: message('appendEntries', {
    session: number,
    prevLogIndex: number,
    prevLogTerm: term,
    entries,
    leaderCommit: number,
  }),
  appendEntriesReply: message('appendEntriesReply', {
    session: number,
    success: flag,
    matchIndex: number,
    rejectedIndex: number,
    hintIndex: number,
    hintTerm: term,
    tailLost: flag,
    inReserve: flag,
  }),
  heartbeat: message('heartbeat', { session: number, leaderCommit: number, round: number }),
  heartbeatReply: message('heartbeatReply', { session: number, round: number, inReserve: flag }),
  timeoutNow: message('timeoutNow', {}),
  readIndexRequest: message('readIndexRequest', { id: number }),
  readIndexReply: message('readIndexReply', {
    id: number,
    index: number,
    lastLogIndex: number,
  }),
  repairRequest: message('repairRequest', {
    fromIndex: number,
    throughIndex: number,
    anchorIndex: number,
    anchorTerm: term,
  }),
  repairReply: message('repairReply', {
    fromIndex: number,
    throughIndex: number,
    anchorIndex: number,
    anchorTerm: term,
    answer: fc.constantFrom('have', 'dontHave', 'unknown'),
    entries,
  }),
  catchUpOffer: message('catchUpOffer', {
    ...catchUp,
    index: number,
    indexTerm: term,
    configuration: fc.record({ index: number, configuration }),
    summary: bytes,
  }),
  catchUpAsk: message('catchUpAsk', { ...catchUp, number, question: bytes }),
  catchUpAnswer: message('catchUpAnswer', {
    ...catchUp,
    number,
    bytes,
    checksum: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  }),
  catchUpEnd: message('catchUpEnd', {
    ...catchUp,
    outcome: fc.constantFrom('current', 'refused', 'gone'),
  }),
  catchUpWant: message('catchUpWant', { least: number }),
  givenUp: message('givenUp', {}),
};

export const anyMessage: fc.Arbitrary<PeerMessage> = fc.oneof(...Object.values(MESSAGES));

/** Views and arrays of the same bytes are the same message. */
export function plain(message: PeerMessage): unknown {
  return JSON.parse(
    JSON.stringify(message, (_key, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
    ).replaceAll(/\{"type":"Buffer","data":\[([\d,]*)\]\}/g, (_all, list: string) =>
      JSON.stringify(Buffer.from(list.split(',').filter(Boolean).map(Number)).toString('hex')),
    ),
  );
}
