/**
 * What a publisher asks for with a message, from its properties: its life, and the user properties
 * `x-delay` (ms until it reaches its queues), `x-priority` (0 to 9), `producer-id` and
 * `producer-seq` (a numbered producer: both or none). The properties stay in the message as they
 * came; docs/queues.md says what each does.
 *
 * A value that an option cannot have, and an option that comes twice, refuse the publish: a message
 * whose wish was not understood must not be stored as if it had none. Names are exact, and all
 * other user properties mean nothing here.
 */

import type { Message } from '../broker/message.ts';
import type { EnqueueOptions, PublishKey, ReplayStep } from '../machine/command.ts';
import { saysAnything } from './enqueue-options.ts';

const DELAY_MS_MAX = 3_650 * 24 * 3_600_000;
const PRIORITY_MAX = 9;
const PRODUCER_ID_LENGTH_MAX = 255;
/** With a producer's id it must fit into the length of the options. */
const SESSION_LENGTH_MAX = 16_384;

type Wishes = { -readonly [Name in keyof EnqueueOptions]: EnqueueOptions[Name] };

/** Undefined: it asks for nothing. */
export function publishOptions(
  message: Message,
  asked: PublishKey | ReplayStep | undefined,
): EnqueueOptions | undefined | 'invalid-option' {
  const { properties } = message;
  if (asked !== undefined && 'run' in asked) return replayOptions(message, asked);
  const key = asked;
  if (key !== undefined && !isKey(key)) return 'invalid-option';
  const wishes: Wishes = { ttlMs: 0, priority: 0, delayMs: 0, producer: undefined, key };
  if (properties !== undefined) {
    const { expirySeconds, priority, userProperties } = properties;
    if (expirySeconds !== undefined) wishes.ttlMs = lifeMs(expirySeconds);
    if (priority !== undefined) wishes.priority = priority;
    if (userProperties !== undefined && !readUserProperties(userProperties, wishes)) {
      return 'invalid-option';
    }
  }
  return saysAnything(wishes) ? wishes : undefined;
}

/** It comes to one session late and without being asked: its publisher's wishes are over. */
function replayOptions({ properties }: Message, replay: ReplayStep): EnqueueOptions {
  const expirySeconds = properties?.expirySeconds;
  const ttlMs = expirySeconds === undefined ? 0 : lifeMs(expirySeconds);
  return { ttlMs, priority: 0, delayMs: 0, producer: undefined, key: undefined, replay };
}

/** A life of 0 s is over at once, and 0 ms would say that it lives for ever. */
function lifeMs(expirySeconds: number): number {
  return Math.max(1, expirySeconds * 1000);
}

export function isKey({ session, ownerEpoch, packetId }: PublishKey): boolean {
  return (
    session.length > 0 &&
    session.length <= SESSION_LENGTH_MAX &&
    Number.isSafeInteger(ownerEpoch) &&
    ownerEpoch >= 0 &&
    packetId >= 0 &&
    packetId <= 0xffff
  );
}

/** False: one of them is no option that can be meant. */
function readUserProperties(
  properties: readonly (readonly [name: string, value: string])[],
  wishes: Wishes,
): boolean {
  let delay: string | undefined;
  let priority: string | undefined;
  let id: string | undefined;
  let sequence: string | undefined;
  for (const [name, value] of properties) {
    switch (name) {
      case 'x-delay':
        if (delay !== undefined) return false;
        delay = value;
        break;
      case 'x-priority':
        if (priority !== undefined) return false;
        priority = value;
        break;
      case 'producer-id':
        if (id !== undefined) return false;
        id = value;
        break;
      case 'producer-seq':
        if (sequence !== undefined) return false;
        sequence = value;
        break;
      default:
    }
  }
  if (delay !== undefined) wishes.delayMs = wholeNumber(delay, DELAY_MS_MAX);
  if (priority !== undefined) wishes.priority = wholeNumber(priority, PRIORITY_MAX);
  if ((id === undefined) !== (sequence === undefined)) return false;
  if (id !== undefined && sequence !== undefined) {
    if (id.length === 0 || id.length > PRODUCER_ID_LENGTH_MAX) return false;
    wishes.producer = { id, sequence: wholeNumber(sequence, Number.MAX_SAFE_INTEGER) };
  }
  return wishes.delayMs >= 0 && wishes.priority >= 0 && (wishes.producer?.sequence ?? 0) >= 0;
}

/** -1: not a whole number from 0 to `max`, written in digits alone. */
function wholeNumber(text: string, max: number): number {
  if (!/^[0-9]{1,16}$/.test(text)) return -1;
  const number = Number(text);
  return number <= max ? number : -1;
}
