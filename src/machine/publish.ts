/**
 * A numbered publish, with what it asks for: exactly once, and later.
 *
 *   key        a retry of a QoS 2 publish is accepted and stores nothing again; of one in parts
 *              (`publish-keys.ts`) what was stored is not
 *   producer   each queue knows the sequences that it has: it takes none twice
 *   replay     a retained message on its way to one session (`session-replay.ts`), and nothing else
 *   delay      the message waits in the shard's own queue `DELAYED_QUEUE`; when it is due, an
 *              intent of the outbox takes it to its queues, whose bounds count then
 *
 * All or nothing: what refuses the publish for one target refuses it for all, and leaves no trace
 * of the key, nor of the sequence.
 */

import type { EnqueueCommand, EnqueueOptions, PublishKey } from './command.ts';
import { MAX_LIFE_MS } from './definitions.ts';
import { type Incoming, enqueue, enqueueNeeds } from './enqueue.ts';
import { DELAYED_QUEUE, type QueueId } from './ids.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { KeyAnswer } from './publish-keys.ts';
import { queueKey } from './record-data.ts';
import { stepNeeds, storeStep } from './session-replay.ts';
import { outcomeCode } from './streams.ts';

const ACCEPTED = outcomeCode('accepted');
const NO_QUEUE = outcomeCode('no-queue');
const DUPLICATE = outcomeCode('duplicate');
const PRODUCER_REFUSED = outcomeCode('producer-refused');
const STALE_OWNER = outcomeCode('stale-owner');
const UNAVAILABLE = outcomeCode('unavailable');

/** What becomes of the publish by its key alone; -1: it is to be stored. */
const BY_KEY: Record<KeyAnswer, number> = {
  new: -1,
  known: ACCEPTED,
  'stale-owner': STALE_OWNER,
  'too-many': PRODUCER_REFUSED,
};

/** Adds what a publish with options needs; the records of its queues are in memory. */
export function publishNeeds(command: EnqueueCommand, needs: NeedsContext): void {
  const { options, targets } = command;
  if (options === undefined) return;
  const { queues, parts, stamp, keys } = needs;
  const { key, producer, delayMs, replay } = options;
  if (replay !== undefined) {
    stepNeeds(targets, needs);
    return;
  }
  if (key !== undefined) parts.publishKeys.needs(key.session, keys);
  if (producer !== undefined) {
    for (const queueId of targets) {
      const state = queues.get(queueId);
      if (state === undefined) continue;
      parts.producers.needsToCheck({ queueId, ...producer }, keys);
      const { producerExpiresMs } = state.definition.limits;
      parts.timers.needsToAdd(stamp + producerExpiresMs, stamp, keys);
    }
  }
  if (delayMs === 0) return;
  const { waiting } = queues;
  if (!waiting.use()) {
    keys.push(queueKey(DELAYED_QUEUE));
    return;
  }
  parts.delays.needsToAdd(stamp + delayOf(options), stamp, keys);
  parts.delayed.needs(waiting.queue.nextOffset, keys);
}

/** Adds what each target needs. */
export function targetsNeed(message: Incoming, needs: NeedsContext): void {
  const { targets, options } = message;
  for (let i = 0; i < targets.length; i += 1) {
    const state = needs.queues.get(targets[i] as QueueId);
    if (state === undefined) continue;
    if (!state.use()) needs.keys.push(queueKey(state.queueId));
    else if (!state.isPlain || options !== undefined) enqueueNeeds(state, message, needs);
  }
}

/** The code of the outcome, as in `OUTCOMES`. */
export function publish(command: EnqueueCommand, context: ApplyContext): number {
  const { options } = command;
  if (options === undefined) return enqueue(command, context);
  const { key, replay } = options;
  if (replay !== undefined) return storeStep(command, replay, context);
  if (key !== undefined) return publishKeyed(command, { options, key }, context);
  return storeAsAsked(command, options, context);
}

/** What is stored of it already is not stored again. */
function publishKeyed(
  command: EnqueueCommand,
  { options, key }: { readonly options: EnqueueOptions; readonly key: PublishKey },
  context: ApplyContext,
): number {
  const { publishKeys } = context.parts;
  const byKey = BY_KEY[publishKeys.check(key)];
  // It is taken whole; whoever asks is its owner from now on.
  if (byKey === ACCEPTED) publishKeys.take({ ...key, part: undefined });
  if (byKey !== -1) return byKey;
  const through = publishKeys.storedThrough(key);
  // A part before was refused: who sent them hears of that one.
  if (key.part !== undefined && key.part.after > through) return UNAVAILABLE;
  let outcome = ACCEPTED;
  const left = command.targets.filter((queueId) => queueId > through);
  if (left.length === command.targets.length) outcome = storeAsAsked(command, options, context);
  else if (left.length > 0) {
    const { bytes, topic } = command;
    outcome = storeAsAsked({ targets: left, bytes, topic, options }, options, context);
  }
  const isStored = outcome === ACCEPTED || outcome === DUPLICATE;
  // Those of a part may all be gone: the others are not for that.
  if (isStored || (outcome === NO_QUEUE && key.part !== undefined)) publishKeys.take(key);
  return outcome;
}

function storeAsAsked(message: Incoming, options: EnqueueOptions, context: ApplyContext): number {
  const { producer } = options;
  return producer === undefined
    ? store(message, options, context)
    : storeOnce(message, { options, producer }, context);
}

/** Stores it where its sequence is new. */
function storeOnce(
  command: Incoming,
  {
    options,
    producer,
  }: { options: EnqueueOptions; producer: NonNullable<EnqueueOptions['producer']> },
  context: ApplyContext,
): number {
  const { queues, parts, stamp } = context;
  const targets: QueueId[] = [];
  let found = 0;
  for (const queueId of new Set(command.targets)) {
    const state = queues.get(queueId);
    if (state === undefined) continue;
    found += 1;
    const { maxProducers } = state.definition.limits;
    const answer = parts.producers.check({ queueId, ...producer }, maxProducers);
    if (answer === 'refused') return PRODUCER_REFUSED;
    if (answer === 'new') targets.push(queueId);
  }
  if (found === 0) return NO_QUEUE;
  if (targets.length === 0) return DUPLICATE;
  const { bytes, topic } = command;
  const outcome = store({ targets, bytes, topic, options }, options, context);
  if (outcome !== ACCEPTED) return outcome;
  for (const queueId of targets) {
    const serial = parts.producers.take({ queueId, ...producer }, stamp);
    const expires = queues.get(queueId)?.definition.limits.producerExpiresMs ?? 0;
    if (serial === 0) continue;
    parts.timers.add({ due: stamp + expires, kind: 'producer', queueId, number: serial }, stamp);
  }
  return ACCEPTED;
}

function store(message: Incoming, options: EnqueueOptions, context: ApplyContext): number {
  if (options.delayMs === 0) return enqueue(message, context);
  const { queues, parts, stamp, effects } = context;
  const targets = [...new Set(message.targets)].filter((each) => queues.get(each) !== undefined);
  if (targets.length === 0) return NO_QUEUE;
  const { bytes } = message;
  const number = queues.waiting.append(bytes);
  effects.addEnqueued(DELAYED_QUEUE, number, bytes);
  parts.delayed.add(number, targets);
  const due = stamp + delayOf(options);
  parts.delays.add({ due, kind: 'delayed', queueId: DELAYED_QUEUE, number }, stamp);
  return ACCEPTED;
}

/** Nobody waits for longer than ten years. */
function delayOf({ delayMs }: EnqueueOptions): number {
  return Math.min(delayMs, MAX_LIFE_MS);
}
