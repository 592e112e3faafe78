/**
 * The configuration keys of the listeners: what each may cost at most, and where it listens
 * (`listener-keys.ts` for MQTT). Part of the one table in `keys.ts`.
 */

import { mqttTcp, mqttTls, mqttWs, mqttWss } from './listener-keys.ts';
import { address, duration, onOff, section, size, text, whole } from './schema.ts';
import { tls } from './tls-keys.ts';

const RESPONSE_INFORMATION_MAX = 1024;
const RESPONSE_RULE =
  `\`off\`, or 1 to ${RESPONSE_INFORMATION_MAX} characters of a topic, ` + 'without `+` and `#`';

function responseProblem(written: string): string | undefined {
  if (written.length > RESPONSE_INFORMATION_MAX) {
    return `is longer than ${RESPONSE_INFORMATION_MAX} characters`;
  }
  if (written === '') return 'is empty: write `off`, or a beginning of topics';
  return /[+#\0]/.test(written)
    ? 'has a wildcard or a NUL: it is no beginning of a topic'
    : undefined;
}

const mqtt = section('What MQTT clients may do, and what they cost at most.', {
  tcp: mqttTcp,
  tls: mqttTls,
  ws: mqttWs,
  wss: mqttWss,
  max_packet_size: size({
    about: 'Largest packet that a client may send, with its header.',
    fallback: '2MiB',
    min: '1KiB',
    max: '268435460B',
  }),
  max_qos: whole({
    about: 'Highest QoS that a client may publish with; above it the client is disconnected.',
    fallback: 2,
    min: 0,
    max: 2,
  }),
  retain_available: onOff({
    about: 'Whether retained messages are taken.',
    fallback: true,
  }),
  wildcard_available: onOff({
    about:
      'Whether filters may have wildcards, those of queues too. A 5.0 client is told when it ' +
      'connects; one that subscribes nevertheless is disconnected, or (3.1.1) refused.',
    fallback: true,
  }),
  shared_available: onOff({
    about: 'The same for shared subscriptions (`$share/...`), those of queues too.',
    fallback: true,
  }),
  subscription_identifiers_available: onOff({
    about: 'The same for subscription identifiers, which 3.1.1 does not have.',
    fallback: true,
  }),
  response_information: text({
    about:
      'Where answers to a 5.0 client that asks for it may go: the beginning of its response ' +
      'topics, `%c` for its client id (`replies/%c`). `off` tells nothing.',
    fallback: 'off',
    rule: RESPONSE_RULE,
    check: responseProblem,
  }),
  receive_maximum: whole({
    about:
      'QoS 1 and 2 publishes of one connection that may wait for their acknowledgement. More of ' +
      'them from a 5.0 client is an error; from a 3.1.1 client they wait in its socket.',
    fallback: 1024,
    min: 1,
    max: 65_535,
  }),
  topic_alias_maximum: whole({
    about: 'Topic aliases for each connection and direction; 0 is none.',
    fallback: 64,
    min: 0,
    max: 65_535,
  }),
  keep_alive_maximum: duration({
    about:
      'Longest keep-alive; 0s is no bound. A 5.0 client is told; a 3.1.1 client, which cannot be ' +
      'told, is held to it only if it asks for none.',
    fallback: '0s',
    min: '0s',
    max: '65535s',
    step: '1s',
  }),
  max_handshake_bytes: size({
    about:
      'Bytes of CONNECT packets that are not whole yet, of all connections together; whoever ' +
      'sends more is cut.',
    fallback: '64MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  max_client_id_length: whole({
    about: 'Longest client id, in UTF-16 units.',
    fallback: 256,
    min: 23,
    max: 65_535,
  }),
  max_inflight: whole({
    about:
      'QoS 1 and 2 deliveries that one client may hold unacknowledged; its own receive maximum ' +
      'is a second bound.',
    fallback: 128,
    min: 1,
    max: 65_535,
  }),
  max_buffered: size({
    about:
      'Bytes that may wait for the socket of one client: above it QoS 0 deliveries are dropped ' +
      'and the client is not read; far below it QoS 1 and 2 already wait in the session.',
    fallback: '4MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  max_subscriptions: whole({
    about: 'Subscriptions of one session.',
    fallback: 1000,
    min: 1,
    max: 1_000_000,
  }),
  sys_interval: duration({
    about:
      'How often the broker tells of itself under `$SYS/broker/...`, to those who subscribe ' +
      'there; 0s is never.',
    fallback: '10s',
    min: '0s',
    max: '1h',
    step: '1s',
  }),
  max_topic_levels: whole({
    about: 'Levels of a topic name or filter.',
    fallback: 128,
    min: 1,
    max: 65_535,
  }),
  max_topic_length: whole({
    about:
      'Longest topic name or filter, in UTF-16 units; 65535 is as long as MQTT knows. Each ' +
      'subscription and each retained message keeps its own in memory.',
    fallback: 65_535,
    min: 1,
    max: 65_535,
  }),
});

const ops = section(
  'Health and metrics over HTTP, for supervisors and Prometheus: `/livez`, `/readyz`, `/metrics`.',
  {
    addr: address({
      about:
        'Where to listen: `host:port`, or `off`. Whoever reaches it sees the names of queues and ' +
        'groups. Outside loopback only with `allow_anonymous: true`.',
      fallback: '127.0.0.1:9464',
    }),
    max_connections: whole({
      about: 'Connections at a time; further ones are closed at once.',
      fallback: 64,
      min: 1,
      max: 10_000,
    }),
    request_timeout: duration({
      about: 'From accepting a connection, or from the answer before, to a whole request.',
      fallback: '5s',
      min: '100ms',
      max: '1m',
    }),
    max_queues: whole({
      about:
        'Queues that have series of their own in the metrics, the deepest first; all others are ' +
        'one sum.',
      fallback: 200,
      min: 0,
      max: 2_000,
    }),
    max_groups: whole({
      about:
        'Groups of these queues that have series of their own, those that lag most first; all ' +
        'others are one sum for each queue.',
      fallback: 500,
      min: 0,
      max: 2_000,
    }),
    live_within: duration({
      about:
        'A thread that has not turned for so long is not alive: `/livez` says so, and a ' +
        'supervisor may start the broker again.',
      fallback: '30s',
      min: '1s',
      max: '10m',
    }),
  },
);

export const server = section('The listeners.', { mqtt, tls, ops });
