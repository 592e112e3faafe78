/**
 * The configuration keys of the addresses at which MQTT clients come in: one section for each
 * transport, with what all of them have and what only it has. Part of the one table in `keys.ts`.
 */

import {
  address,
  choice,
  duration,
  section,
  size,
  text,
  texts,
  whole,
  wholeOrAuto,
} from './schema.ts';

const WHERE =
  'Where to listen: `host:port`, or `off`. Without a host every interface is meant; port 0 lets ' +
  'the system choose. Outside loopback only with `allow_anonymous: true`';

const ORIGINS_MAX = 100;

/** As many as a listener may have. */
const PER_ADDRESS_MAX = 1_000_000;

/** What one address may have of a listener. */
const perAddress = section(
  'What one address may have of this listener: IPv4 as it is, IPv6 by its network. Loopback is an ' +
    'address like others, and so is a proxy: whoever comes through one counts as it.',
  {
    max_connections: wholeOrAuto({
      about: 'Connections at a time; further ones are closed at once. 0 is no bound.',
      auto: 'nine tenths of `max_connections`',
      min: 0,
      max: PER_ADDRESS_MAX,
    }),
    max_handshakes: wholeOrAuto({
      about: 'Open handshakes at a time; further ones are closed at once. 0 is no bound.',
      auto: 'nine tenths of `max_handshakes`',
      min: 0,
      max: PER_ADDRESS_MAX,
    }),
    connection_rate: whole({
      about: 'New connections a second; further ones are closed at once. 0 is no bound.',
      fallback: 1_000,
      min: 0,
      max: 1_000_000,
    }),
    connection_burst: whole({
      about: 'New connections that may come at once, after a while without any.',
      fallback: 20_000,
      min: 1,
      max: 1_000_000,
    }),
    ipv6_prefix: whole({
      about: 'The bits of an IPv6 address that name its network.',
      fallback: 64,
      min: 16,
      max: 128,
    }),
  },
);

const HANDSHAKES =
  'Open handshakes at a time: connections whose client has not sent its whole CONNECT. Further ' +
  'ones are closed at once. Each lasts for `connect_timeout` at most.';

function listener(fallback: string, where = `${WHERE}.`) {
  return {
    addr: address({ about: where, fallback }),
    max_connections: whole({
      about: 'Connections at a time; further ones are closed at once.',
      fallback: 10_000,
      min: 1,
      max: 1_000_000,
    }),
    connect_timeout: duration({
      about: 'From accepting a connection to its whole CONNECT packet, with all that lies between.',
      fallback: '10s',
      min: '100ms',
      max: '10m',
    }),
    per_address: perAddress,
  };
}

const handshakes = {
  max_handshakes: whole({
    about: `${HANDSHAKES} Each costs about 64 KiB at most.`,
    fallback: 1_000,
    min: 1,
    max: 100_000,
  }),
};

const clientCertificates = {
  client_certificates: choice({
    about:
      'Whether clients show certificates of `server.tls.client_ca`. `required`: without a good ' +
      'one nobody comes in. `optional`: whoever shows one must show a good one. Its name ' +
      '(`server.tls.identity`) is the identity of the connection.',
    choices: ['off', 'optional', 'required'],
    fallback: 'off',
  }),
};

const WHERE_TLS = `${WHERE}, or with \`client_certificates: required\`.`;

const webSocket = {
  path: text({
    about: 'The path of the URL at which MQTT is; requests to others are answered with 404.',
    fallback: '/mqtt',
    rule: 'a path that begins with `/`, without spaces, `?` and `#`',
    check: (path) =>
      /^\/[!"$->@-~]*$/.test(path)
        ? undefined
        : 'is not the path of a URL: it begins with / and has no spaces, ? or #',
  }),
  origins: texts({
    about:
      'The pages that may connect, by their origin, such as `https://app.example.com`; `*` is ' +
      'any page that a user of yours opens anywhere. Programs, which send no origin, always may.',
    rule: 'an origin (scheme, host, port if it is not the usual one), or `*`',
    otherwise: 'no page',
    example: '[]',
    least: 0,
    most: ORIGINS_MAX,
    check: originProblem,
  }),
  max_message_size: size({
    about:
      'Largest WebSocket message of a client, whole: it may hold many packets, or a part of one. ' +
      'At least `server.mqtt.max_packet_size`.',
    fallback: '8MiB',
    min: '64KiB',
    max: '512MiB',
  }),
  ping_interval: duration({
    about:
      'A client that was silent for so long is sent a ping, and is cut when it is silent for as ' +
      'long again; 0s sends none.',
    fallback: '30s',
    min: '0s',
    max: '1h',
  }),
};

/** As a browser writes it: in small letters, without a path, without the usual port. */
function originProblem(origin: string): string | undefined {
  if (origin === '*') return undefined;
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url?.origin === origin && !origin.includes('*')) return undefined;
  const known = url === undefined || url.origin === 'null' ? undefined : url.origin;
  const hint = known === undefined ? 'write it as https://app.example.com' : `write ${known}`;
  return `is no origin: ${hint}`;
}

export const mqttTcp = section('MQTT over TCP: 3.1.1 and 5.0 on one port.', {
  ...listener('127.0.0.1:1883'),
  max_handshakes: wholeOrAuto({
    about: `${HANDSHAKES} What they sent is bounded by \`server.mqtt.max_handshake_bytes\`.`,
    auto: 'as many as `max_connections`',
    min: 1,
    max: 1_000_000,
  }),
});

export const mqttWs = section('MQTT over WebSocket, for browsers and through proxies.', {
  ...listener('off'),
  ...handshakes,
  ...webSocket,
});

export const mqttTls = section('MQTT over TLS, with what `server.tls` says.', {
  ...listener('off', WHERE_TLS),
  ...handshakes,
  ...clientCertificates,
});

export const mqttWss = section('MQTT over WebSocket over TLS, with what `server.tls` says.', {
  ...listener('off', WHERE_TLS),
  ...handshakes,
  ...clientCertificates,
  ...webSocket,
});
