/**
 * What a SUBSCRIBE to `$queue/...` asks for: which queue, which of its messages, in which group,
 * how they are settled, and where a stream begins. Pure.
 *
 *     $queue/<queue>[/<filter>]                     the queue, or what the filter matches in it
 *     $queue/$dlq/<queue>[/<filter>]                the same of a dead-letter queue
 *     $share/<group>/$queue/...                     in a consumer group, 3.1.1 and 5.0
 *     consumer-group: <group>                       user properties of SUBSCRIBE, 5.0
 *     ack: manual
 *     x-stream-offset: first | last | next | resume | <offset> | timestamp:<ISO 8601 or ms>
 *
 * What cannot be meant is refused with words and never taken for something near it: a filter that
 * is none does not become "everything" (Q10).
 */

import type { Position } from '../../broker/ports.ts';
import { isReserved, parseQueueTopic } from '../../broker/queue-topic.ts';
import type { SubscribePacket, Subscription } from './packet.ts';
import type { MqttLimit } from './limits.ts';
import { ReasonCode, type SubscribeReason } from './reason-codes.ts';

export interface SubscribeRefusal {
  readonly reasonCode: Exclude<SubscribeReason, 0 | 1 | 2>;
  readonly text: string;
  /** Where it is a limit: counted when it is said. */
  readonly limit?: MqttLimit;
}

/** Kept with the subscription, and asked for again when the session is resumed. */
export interface QueueWish {
  readonly queueName: string;
  readonly group: string | undefined;
  /** Over routing keys; '' takes all. */
  readonly filter: string;
  readonly manual: boolean;
  /** `resume` is where the group stands, in words. Only a stream can be asked. */
  readonly start: Position | 'resume' | undefined;
}

/** What the user properties of a SUBSCRIBE say, to all its filters that are queues. */
export type Wishes = Pick<QueueWish, 'group' | 'manual' | 'start'>;

const GROUP_LENGTH_MAX = 255;
const WISHES = ['consumer-group', 'ack', 'x-stream-offset'] as const;
type WishName = (typeof WISHES)[number];

const NO_WISHES: Wishes = { group: undefined, manual: false, start: undefined };

export function wishesOf({ properties }: SubscribePacket): Wishes | SubscribeRefusal {
  if (properties?.userProperties === undefined) return NO_WISHES;
  const said = new Map<WishName, string>();
  for (const [name, value] of properties.userProperties) {
    const wish = WISHES.find((each) => each === name);
    if (wish === undefined) continue;
    const before = said.get(wish);
    if (before !== undefined && before !== value) {
      return refused(`the user property '${wish}' is there twice, with different values`);
    }
    said.set(wish, value);
  }
  const ack = said.get('ack');
  if (ack !== undefined && ack !== 'manual') {
    return refused("the user property 'ack' has one value: manual");
  }
  const group = said.get('consumer-group');
  if (group !== undefined && !isGroupName(group)) return refused(GROUP_RULE);
  const offset = said.get('x-stream-offset');
  const start = offset === undefined ? undefined : startOf(offset);
  if (start === 'wrong') return refused(OFFSET_RULE);
  return { group, manual: ack !== undefined, start };
}

/** `subscription.filter` begins with `$queue/`. */
export function queueWish(
  { filter, shareName }: Subscription,
  wishes: Wishes,
): QueueWish | SubscribeRefusal {
  const parsed = parseQueueTopic(filter);
  if (parsed === undefined || /[+#]/.test(parsed.name)) {
    return misnamed('a queue is named without wildcards: subscribe to $queue/<name>/<filter>');
  }
  const { name, rest } = parsed;
  if (rest === '') return misnamed('an empty filter inside a queue: leave out the last slash');
  if (isReserved(rest)) return misnamed('a level that begins with $ is reserved');
  if (shareName !== undefined && !isGroupName(shareName)) return refused(GROUP_RULE);
  const { group, manual, start } = wishes;
  if (group !== undefined && shareName !== undefined && group !== shareName) {
    return refused("$share and the user property 'consumer-group' name different groups");
  }
  return {
    queueName: name,
    group: shareName ?? group,
    filter: rest === undefined || rest === '#' ? '' : rest,
    manual,
    start,
  };
}

/** The same consumer would come of it; one that says where to begin always begins anew. */
export function sameWish(a: QueueWish, b: QueueWish): boolean {
  return (
    a.queueName === b.queueName &&
    a.group === b.group &&
    a.filter === b.filter &&
    a.manual === b.manual &&
    (b.start === undefined || b.start === 'resume')
  );
}

const GROUP_RULE =
  `a consumer group has a name of 1 to ${GROUP_LENGTH_MAX} characters, ` +
  'none of them a control character';
const OFFSET_RULE =
  "the user property 'x-stream-offset' is first, last, next, resume, an offset, or timestamp: " +
  'with ISO 8601 or milliseconds behind it';

function isGroupName(name: string): boolean {
  return name.length > 0 && name.length <= GROUP_LENGTH_MAX && !/[\p{Cc}\p{Surrogate}]/u.test(name);
}

function startOf(text: string): Position | 'resume' | 'wrong' {
  switch (text) {
    case 'resume':
      return text;
    case 'first':
    case 'last':
    case 'next':
      return { kind: text };
    default:
  }
  const offset = wholeNumber(text);
  if (offset !== undefined) return { kind: 'offset', offset };
  const time = /^timestamp:(.*)$/.exec(text)?.[1];
  const ms = time === undefined ? undefined : (wholeNumber(time) ?? isoTime(time));
  return ms === undefined ? 'wrong' : { kind: 'time', ms };
}

export function wholeNumber(text: string): number | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** With a zone, or a date alone (which is UTC), so that it means the same on every machine. */
function isoTime(text: string): number | undefined {
  const form = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/;
  if (!form.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) || ms < 0 ? undefined : ms;
}

function refused(text: string): SubscribeRefusal {
  return { reasonCode: ReasonCode.implementationSpecificError, text };
}

function misnamed(text: string): SubscribeRefusal {
  return { reasonCode: ReasonCode.topicFilterInvalid, text };
}
