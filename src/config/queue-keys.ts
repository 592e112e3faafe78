/**
 * The configuration keys of queues. Part of the one table in `keys.ts`; what a default of `auto`
 * means for each type stands in src/machine/default-definition.ts, and which keys go together in
 * `queue-rules.ts`.
 */

import {
  GROUP_FILTER_RULE,
  GROUP_NAME_RULE,
  QUEUE_NAME_RULE,
  QUEUE_TOPIC_RULE,
  deadLetterProblem,
  groupFilterProblem,
  groupNameProblem,
  queueNameProblem,
  queueTopicProblem,
} from './queue-names.ts';
import { POSITION_RULE, positionProblem } from './positions.ts';
import { choice, duration, fraction, onOff, section, sections, size } from './schema.ts';
import { text, texts, whole } from './schema.ts';

/** 2 to the power of 50. */
const MESSAGES_MAX = 1_125_899_906_842_624;
const BYTES_MAX = '1024TiB';

const retry = section('When a message that a consumer handed back is delivered again.', {
  min: duration({ about: 'The first backoff.', fallback: '1s', min: '1ms', max: '30d' }),
  max: duration({
    about: 'The longest backoff; at least `min`.',
    fallback: '60s',
    min: '1ms',
    max: '30d',
  }),
  multiplier: fraction({
    about: 'By how much each backoff is longer than the one before.',
    fallback: 2,
    min: 1,
    max: 100,
  }),
  jitter: fraction({
    about: 'By up to this share a backoff is lengthened, never beyond `max`.',
    fallback: 0.2,
    min: 0,
    max: 1,
  }),
});

const maxLength = section(
  'How much may wait in the queue, counted for the group that has most. Not for streams: their ' +
    'bound is `retention`.',
  {
    messages: whole({
      about: 'Messages that are not settled; 0 is no bound.',
      fallback: 0,
      min: 0,
      max: MESSAGES_MAX,
    }),
    bytes: size({
      about: 'Their bytes as stored; 0B is no bound.',
      fallback: '0B',
      min: '0B',
      max: BYTES_MAX,
    }),
    overflow: choice({
      about:
        'What a full queue does with a publish: `reject-publish` refuses it, `drop-head` takes ' +
        'it and lets the oldest message go. Only with a bound.',
      choices: ['reject-publish', 'drop-head'],
      fallback: 'reject-publish',
    }),
  },
);

const retention = section(
  'What is kept at most, settled or not: the oldest messages go first. Not for `ephemeral`. ' +
    'Without these a `stream` keeps everything, and a `classic` queue what is not settled.',
  {
    age: duration({
      about: 'Older messages go; 0s is no bound.',
      fallback: '0s',
      min: '0s',
      max: '3650d',
      step: '1s',
    }),
    bytes: size({
      about: 'The oldest go while more bytes than this are kept; 0B is no bound.',
      fallback: '0B',
      min: '0B',
      max: BYTES_MAX,
    }),
    messages: whole({
      about: 'The oldest go while more messages than this are kept; 0 is no bound.',
      fallback: 0,
      min: 0,
      max: MESSAGES_MAX,
    }),
  },
);

const group = section('One group of consumers.', {
  name: text({
    about: 'What consumers name to be in it.',
    fallback: '',
    rule: GROUP_NAME_RULE,
    check: groupNameProblem,
  }),
  filter: text({
    about:
      'Which messages it gets, by what follows `$queue/<name>/` in their topics (for ordinary ' +
      'topics: by the whole topic). The group is then named `<name>@<filter>`, as that of a ' +
      'consumer who subscribes with the filter.',
    fallback: '',
    otherwise: 'all messages',
    rule: GROUP_FILTER_RULE,
    check: groupFilterProblem,
  }),
  start: text({
    about:
      'Where it begins when it is made; `auto` is the `group_start` of the queue. A group that ' +
      'exists stays where it is.',
    fallback: 'auto',
    rule: POSITION_RULE,
    check: positionProblem,
  }),
});

const groups = sections({
  about:
    'Groups that are made at the start if they are not there. They hold what they have not ' +
    'settled until they are deleted; a group that is taken out of the file stays.',
  each: group,
  fallback: [],
  most: 1_000,
});

const queue = section('One queue.', {
  name: text({
    about:
      'Publish and subscribe to it as `$queue/<name>`. `$dlq/<queue>` is the dead-letter queue ' +
      'of `<queue>`: name it to give it limits of its own.',
    fallback: '',
    rule: QUEUE_NAME_RULE,
    check: queueNameProblem,
  }),
  type: choice({
    about:
      'A `classic` queue keeps a message until every group has settled it. A `stream` keeps all ' +
      'until `retention` lets it go, and groups have positions in it. An `ephemeral` queue lives ' +
      'in memory and is empty after a restart. The type of a queue that exists cannot be changed.',
    choices: ['classic', 'stream', 'ephemeral'],
    fallback: 'classic',
  }),
  topics: texts({
    about:
      'A publish whose topic matches one of these is stored once. Ordinary topics are captured: ' +
      'their subscribers get the message too.',
    rule: QUEUE_TOPIC_RULE,
    otherwise: '`$queue/<name>/#`, which matches `$queue/<name>` too',
    example: "['$queue/orders/#']",
    least: 1,
    most: 64,
    check: queueTopicProblem,
  }),
  capture: choice({
    about:
      'When a publish with QoS 1 or 2 to a captured topic is acknowledged: `sync`, when it is ' +
      'stored; `async`, at once, and what cannot be stored is lost and counted.',
    choices: ['sync', 'async'],
    fallback: 'sync',
  }),
  default_group: choice({
    about:
      'The group of a consumer that names none: `shared` by all of them, or that of the ' +
      '`client`, named after its client id up to the first `-`. `auto` is `client` for a ' +
      '`stream`, `shared` otherwise.',
    choices: ['auto', 'shared', 'client'],
    fallback: 'auto',
  }),
  group_start: choice({
    about:
      'Where a new group begins if its consumer does not say: at the `first` message that is ' +
      'kept (of a `classic` queue: that some group has not settled), or with the `next` one ' +
      'that comes. `auto` is `next` for a `stream`, `first` otherwise.',
    choices: ['auto', 'first', 'next'],
    fallback: 'auto',
  }),
  group_expires: duration({
    about:
      'A group that was named after a client goes so long after its last consumer left. Groups ' +
      'with names of their own stay until they are deleted.',
    fallback: '24h',
    min: '1s',
    max: '3650d',
  }),
  max_groups: whole({
    about: 'Groups that the queue may have; above it a consumer of a new one is refused.',
    fallback: 1_000,
    min: 1,
    max: 10_000,
  }),
  groups,
  message_ttl: duration({
    about:
      'A message that is older is gone for all groups that have not settled it; 0s is never. The ' +
      'message expiry of its publish holds where it is shorter. Not for streams: their bound is ' +
      '`retention.age`.',
    fallback: '0s',
    min: '0s',
    max: '3650d',
  }),
  max_length: maxLength,
  retention,
  dlq: text({
    about:
      'The queue that takes rejected messages and those that reached `delivery_limit`: the name ' +
      'of a queue, `off` (they are dropped), or `auto`: `$dlq/<name>` for a `classic` queue that ' +
      'is no dead-letter queue itself, `off` otherwise. It is made when it is first needed.',
    fallback: 'auto',
    rule: '`auto`, `off`, or the name of a queue',
    check: deadLetterProblem,
  }),
  retry,
  delivery_limit: whole({
    about:
      'Attempts after which a message goes to the dead-letter queue (`dlq`) instead of being ' +
      'delivered again. Not for streams.',
    fallback: 20,
    min: 1,
    max: 1_000_000,
  }),
  visibility_timeout: duration({
    about: 'How long a consumer may hold a message before another one gets it.',
    fallback: '30s',
    min: '1ms',
    max: '30d',
  }),
  max_unsettled_span: whole({
    about:
      'How far deliveries may run ahead of the oldest unsettled message, in messages; beyond it ' +
      'only redeliveries go out.',
    fallback: 4_194_304,
    min: 1,
    max: 4_194_304,
  }),
  single_active_consumer: onOff({
    about: 'One consumer of each group gets all messages, and the next one when it is gone.',
    fallback: false,
  }),
  max_priority: whole({
    about:
      'Messages of priority 1 to this go ahead of those of 0, higher ones first; a higher one is ' +
      'taken for this. 0: all are equal. Not for streams.',
    fallback: 0,
    min: 0,
    max: 9,
  }),
  max_producers: whole({
    about:
      'Numbered producers whose last messages are remembered, so that none is stored twice; ' +
      'above it a new one is refused.',
    fallback: 10_000,
    min: 0,
    max: 1_000_000,
  }),
  producer_expires: duration({
    about: 'A numbered producer is forgotten so long after its last message.',
    fallback: '24h',
    min: '1s',
    max: '3650d',
  }),
  expires: duration({
    about:
      'An `ephemeral` queue goes so long after its last consumer left; 0s is never. Other types ' +
      'stay until they are deleted.',
    fallback: '1h',
    min: '0s',
    max: '3650d',
    step: '1s',
  }),
});

export const queues = sections({
  about:
    'The queues. A queue `mqtt` always exists and takes every `$queue/` name that no other queue ' +
    'has; name it here to change its limits. A queue that is taken out of the file stays, with ' +
    'its messages.',
  each: queue,
  fallback: [{ name: 'orders' }],
  most: 10_000,
});

export const autoCreate = section(
  'What a publish or subscription to `$queue/<name>` does that no queue takes but `mqtt`. (It ' +
    'stands beside `queues`, which is a list.)',
  {
    type: choice({
      about:
        '`off`: the queue `mqtt` takes it. Otherwise a queue `<name>` of this type is made, with ' +
        'every default.',
      choices: ['off', 'classic', 'ephemeral'],
      fallback: 'off',
    }),
    max_queues: whole({
      about:
        'With so many queues on this broker, whatever made them, no more are made in this way: ' +
        'the publish or subscription is refused.',
      fallback: 10_000,
      min: 0,
      max: 1_000_000,
    }),
  },
);
