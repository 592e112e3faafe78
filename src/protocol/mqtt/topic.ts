/**
 * Topic names, topic filters and shared subscriptions (MQTT 4.7, 4.8).
 *
 * One pass over the text, no recursion, nothing allocated: a name of 64 KB with 65,535 levels costs
 * what its length costs. Nothing is normalised, ever [MQTT-4.7.3-4]. Length in UTF-8 (at most
 * 65,535) is a matter of the field that a name came in.
 */

const PLUS = 0x2b;
const HASH = 0x23;
const SLASH = 0x2f;
const SHARE = '$share/';

export type TopicNameFault = 'empty' | 'wildcard' | 'nul';

/**
 * What is wrong with a topic name, or undefined: [MQTT-4.7.3-1], [MQTT-4.7.0-1], [MQTT-4.7.3-2].
 */
export function topicNameFault(name: string): TopicNameFault | undefined {
  if (name.length === 0) return 'empty';
  // Native: faster than a loop from 16 characters on, twenty times with 65,535.
  if (name.includes('+') || name.includes('#')) return 'wildcard';
  return name.includes('\0') ? 'nul' : undefined;
}

export function isTopicName(name: string): boolean {
  return topicNameFault(name) === undefined;
}

/**
 * `#` is a whole level and the last one [MQTT-4.7.1-1]; `+` is a whole level [MQTT-4.7.1-2]; at
 * least one character [MQTT-4.7.3-1]; no NUL [MQTT-4.7.3-2]. A `$share/` in front is an ordinary
 * level here.
 */
export function isTopicFilter(filter: string): boolean {
  const length = filter.length;
  if (length === 0) return false;
  for (let at = 0; at < length; at++) {
    const unit = filter.charCodeAt(at);
    if (unit === 0) return false;
    if (unit !== PLUS && unit !== HASH) continue;
    if (at > 0 && filter.charCodeAt(at - 1) !== SLASH) return false;
    if (unit === HASH ? at + 1 < length : at + 1 < length && filter.charCodeAt(at + 1) !== SLASH) {
      return false;
    }
  }
  return true;
}

export interface SharedFilter {
  readonly shareName: string;
  readonly filter: string;
}

/**
 * Takes `$share/<name>/<filter>` apart; undefined for a filter that is not shared, 'malformed' for
 * one that begins so and goes on wrong [MQTT-4.8.2-1], [MQTT-4.8.2-2]. The filter inside is checked
 * like any other.
 */
export function parseSharedFilter(topicFilter: string): SharedFilter | 'malformed' | undefined {
  if (!topicFilter.startsWith(SHARE)) return topicFilter === '$share' ? 'malformed' : undefined;
  const slash = topicFilter.indexOf('/', SHARE.length);
  if (slash <= SHARE.length) return 'malformed';
  const shareName = topicFilter.slice(SHARE.length, slash);
  const filter = topicFilter.slice(slash + 1);
  return isTopicName(shareName) && isTopicFilter(filter) ? { shareName, filter } : 'malformed';
}

/**
 * How many levels a name or filter has: one more than its slashes. Counts no further than `max` +
 * 1.
 */
export function topicLevels(text: string, max = Number.POSITIVE_INFINITY): number {
  let levels = 1;
  let slash = text.indexOf('/');
  while (slash >= 0 && levels <= max) {
    levels++;
    slash = text.indexOf('/', slash + 1);
  }
  return levels;
}
