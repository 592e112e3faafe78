/**
 * Which names and patterns a queue may have. Pure.
 *
 * A name is one level of a topic (`$queue/<name>`), so it can be neither empty nor hold `/`, `+`,
 * `#` or a control character; names with `$` in front are the broker's own. It never becomes the
 * name of a file.
 */

const NAME_BYTES_MAX = 255;
const PATTERN_BYTES_MAX = 65_535;
export const CATCH_ALL_QUEUE = 'mqtt';

export const QUEUE_NAME_RULE =
  '1 to 255 bytes of UTF-8, without `/`, `+`, `#` and control characters, not beginning with ' +
  '`$`, not `.` or `..`';

export const QUEUE_TOPIC_RULE =
  'a topic filter of MQTT below `$queue/`, such as `$queue/orders/+/new`';

const CONTROL = /[\p{Cc}\p{Surrogate}\ufeff]/u;

export function queueNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty: a queue needs a name';
  if (new TextEncoder().encode(name).length > NAME_BYTES_MAX) {
    return `is longer than ${NAME_BYTES_MAX} bytes`;
  }
  if (CONTROL.test(name)) return 'holds a control character';
  if (/[/+#]/.test(name))
    return 'holds /, + or #: a name is one level of a topic, without wildcards';
  if (name.startsWith('$')) return 'begins with $: such names are the own ones of the broker';
  if (name === '.' || name === '..') return 'is not a name';
  return undefined;
}

/** What is wrong with a topic pattern of a queue. */
export function queueTopicProblem(pattern: string): string | undefined {
  if (new TextEncoder().encode(pattern).length > PATTERN_BYTES_MAX) {
    return `is longer than ${PATTERN_BYTES_MAX} bytes`;
  }
  if (CONTROL.test(pattern)) return 'holds a control character';
  const levels = pattern.split('/');
  for (const [index, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || index !== levels.length - 1)) {
      return '# may only be the whole last level of a pattern';
    }
    if (level.includes('+') && level !== '+') return '+ may only be a whole level of a pattern';
  }
  if (levels[0] !== '$queue' || levels.length < 2) {
    return (
      'capturing ordinary topics is not available in this version: ' + 'patterns begin with $queue/'
    );
  }
  if (levels[1] === '') return 'names no queue: write $queue/NAME/...';
  return undefined;
}
