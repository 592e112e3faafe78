/**
 * Filters inside a queue: which routing keys a group takes.
 *
 * The routing key of a message is what follows `$queue/<name>/` in the topic that it was published
 * to; of a message that an ordinary topic brought into the queue, the whole topic. A filter is an
 * MQTT topic filter over its levels ([MQTT-4.7.1-1] to [-3]; levels that begin with `$` are nothing
 * special here). '' and '#' take everything, and the empty key matches nothing else.
 *
 * Matching goes once over both strings and allocates nothing, whatever they hold (S4).
 */

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const QUEUE_PREFIX = '$queue/';
const MAX_FILTER_LENGTH = 65_535;

/** What is wrong with a filter, in words; undefined: nothing. */
export function filterProblem(filter: string): string | undefined {
  if (filter.length > MAX_FILTER_LENGTH) {
    return `a filter must have at most ${MAX_FILTER_LENGTH} characters`;
  }
  if (/\p{Surrogate}|\0/u.test(filter)) return 'the filter is not well-formed Unicode';
  for (let i = 0; i < filter.length; i += 1) {
    const code = filter.charCodeAt(i);
    if (code !== PLUS && code !== HASH) continue;
    if (i > 0 && filter.charCodeAt(i - 1) !== SLASH) return 'a wildcard must be a whole level';
    const isLast = i === filter.length - 1;
    if (code === HASH && !isLast) return "'#' must be the last level";
    if (!isLast && filter.charCodeAt(i + 1) !== SLASH) return 'a wildcard must be a whole level';
  }
  return undefined;
}

export function takesAll(filter: string): boolean {
  return filter === '' || filter === '#';
}

/** Where in the topic the routing key of the queue of this name begins. */
export function routingKeyAt(topic: string, name: string): number {
  const end = QUEUE_PREFIX.length + name.length;
  if (!topic.startsWith(QUEUE_PREFIX) || !topic.startsWith(name, QUEUE_PREFIX.length)) return 0;
  if (topic.length === end) return end;
  return topic.charCodeAt(end) === SLASH ? end + 1 : 0;
}

/** Does the filter of a group of this queue take what was published to the topic? */
export function filterTakes(filter: string, queueName: string, topic: string): boolean {
  return takesAll(filter) || filterMatches(filter, topic, routingKeyAt(topic, queueName));
}

/** Does the filter, which is sound, match what begins at `from`? */
export function filterMatches(filter: string, topic: string, from: number): boolean {
  if (takesAll(filter)) return true;
  if (from >= topic.length) return false;
  let f = 0;
  let t = from;
  for (;;) {
    // Both stand at the beginning of a level, or the filter at its end.
    const code = filter.charCodeAt(f);
    if (code === HASH) return true;
    if (code === PLUS) {
      while (t < topic.length && topic.charCodeAt(t) !== SLASH) t += 1;
      f += 1;
    } else {
      while (f < filter.length && t < topic.length) {
        const own = filter.charCodeAt(f);
        if (own === SLASH || own !== topic.charCodeAt(t)) break;
        f += 1;
        t += 1;
      }
    }
    const isFilterDone = f === filter.length;
    if (t === topic.length) {
      // `a/#` matches `a` too.
      return isFilterDone || (f === filter.length - 2 && filter.endsWith('/#'));
    }
    if (isFilterDone) return false;
    if (filter.charCodeAt(f) !== SLASH || topic.charCodeAt(t) !== SLASH) return false;
    f += 1;
    t += 1;
  }
}
