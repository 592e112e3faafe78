/**
 * Which names, patterns, groups and filters a queue may have. Pure.
 *
 * A name is one level of a topic (`$queue/<name>`), so it can be neither empty nor hold `/`, `+`,
 * `#` or a control character; names with `$` in front are the broker's own. The one exception is
 * `$dlq/<queue>`, the dead-letter queue of a queue. A name never becomes the name of a file.
 */

/** A name has room for `$dlq/` in front of it. */
const NAME_BYTES_MAX = 250;
const GROUP_NAME_MAX = 255;
const PATTERN_BYTES_MAX = 65_535;
export const CATCH_ALL_QUEUE = 'mqtt';
const DEAD_LETTER_PREFIX = '$dlq/';

export const QUEUE_NAME_RULE =
  '1 to 250 bytes of UTF-8, without `/`, `+`, `#` and control characters, not beginning with ' +
  '`$`, not `.` or `..`; or `$dlq/` and such a name';

export const QUEUE_TOPIC_RULE =
  'a topic filter of MQTT, such as `$queue/orders/+/new`, or `sensors/#` to capture ordinary ' +
  'topics';

export const GROUP_NAME_RULE =
  '1 to 255 characters, without `@`, `/`, `+`, `#` and control characters, not beginning with `$`';

export const GROUP_FILTER_RULE = 'a topic filter of MQTT, such as `eu/#`';

const CONTROL = /[\p{Cc}\p{Surrogate}\ufeff]/u;

const encoder = new TextEncoder();

export function queueNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty: a queue needs a name';
  if (name.startsWith(DEAD_LETTER_PREFIX)) {
    const wrong = queueNameProblem(name.slice(DEAD_LETTER_PREFIX.length));
    const twice = name.startsWith(DEAD_LETTER_PREFIX, DEAD_LETTER_PREFIX.length);
    if (twice) return 'is the dead-letter queue of one: such a queue has none';
    return wrong === undefined ? undefined : `is no $dlq/<queue>: what follows $dlq/ ${wrong}`;
  }
  if (encoder.encode(name).length > NAME_BYTES_MAX) return `is longer than ${NAME_BYTES_MAX} bytes`;
  if (CONTROL.test(name)) return 'holds a control character';
  if (/[/+#]/.test(name))
    return 'holds /, + or #: a name is one level of a topic, without wildcards';
  if (name.startsWith('$')) {
    return 'begins with $: such names are the own ones of the broker, but for $dlq/<queue>';
  }
  if (name === '.' || name === '..') return 'is not a name';
  return undefined;
}

export function isDeadLetterQueue(name: string): boolean {
  return name.startsWith(DEAD_LETTER_PREFIX);
}

/** What is wrong with the value of `dlq`. */
export function deadLetterProblem(name: string): string | undefined {
  if (name === '') return 'is empty: write auto, off, or the name of a queue';
  return name === 'auto' || name === 'off' ? undefined : queueNameProblem(name);
}

/** What is wrong with a topic pattern of a queue. */
export function queueTopicProblem(pattern: string): string | undefined {
  const wrong = filterProblem(pattern);
  if (wrong !== undefined) return wrong;
  const levels = pattern.split('/');
  if (levels[0] === '$queue') {
    if (levels.length < 2 || levels[1] === '') return 'names no queue: write $queue/NAME/...';
    return undefined;
  }
  return pattern.startsWith('$')
    ? 'topics that begin with $ are the own ones of the broker, but for $queue/'
    : undefined;
}

/** Where dead letters of a queue go that does not say. */
export function deadLetterQueueOf(name: string): string {
  return `${DEAD_LETTER_PREFIX}${name}`;
}

/** Whether a pattern captures ordinary topics. */
export function capturesTopics(pattern: string): boolean {
  return !pattern.startsWith('$');
}

export function groupNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty: a group needs a name';
  if (name.length > GROUP_NAME_MAX) return `is longer than ${GROUP_NAME_MAX} characters`;
  if (CONTROL.test(name)) return 'holds a control character';
  if (name.includes('@')) return 'holds @: write what follows it as the filter of the group';
  if (/[/+#]/.test(name)) return 'holds /, + or #: no consumer could name it';
  return name.startsWith('$') ? 'begins with $' : undefined;
}

/** What is wrong with the filter of a group; '' takes all. */
export function groupFilterProblem(filter: string): string | undefined {
  return filter === '' ? undefined : filterProblem(filter);
}

/** The name that the group of this filter has. */
export function filteredGroupName(name: string, filter: string): string {
  return filter === '' ? name : `${name}@${filter}`;
}

export function composedNameProblem(name: string, filter: string): string | undefined {
  const { length } = filteredGroupName(name, filter);
  return length > GROUP_NAME_MAX
    ? `is too long: with the name of its group it has ${length} characters, and at most ` +
        `${GROUP_NAME_MAX} are taken`
    : undefined;
}

function filterProblem(filter: string): string | undefined {
  if (filter === '') return 'is empty';
  if (encoder.encode(filter).length > PATTERN_BYTES_MAX) {
    return `is longer than ${PATTERN_BYTES_MAX} bytes`;
  }
  if (CONTROL.test(filter)) return 'holds a control character';
  const levels = filter.split('/');
  for (const [index, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || index !== levels.length - 1)) {
      return '# may only be the whole last level of a pattern';
    }
    if (level.includes('+') && level !== '+') return '+ may only be a whole level of a pattern';
  }
  return undefined;
}
