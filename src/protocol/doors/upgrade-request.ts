/**
 * Which HTTP requests may become a WebSocket with MQTT in it, and what the others are told. Pure.
 *
 * A browser lets any page of the world open a WebSocket to any address that its user can reach, and
 * says which page it was in `Origin` (RFC 6455 10.2): so pages are let in only from origins that
 * were named. Programs send no origin, or like paho the address that they connect to, with `https`
 * in any case. That is let in too: a page of such an origin came over TLS from the very host that
 * is asked, so nobody else can have made it. With `http` it could be a page of anybody, whose name
 * was made to lead here (DNS rebinding).
 */

import { utf8Size } from '../bytes.ts';

export interface UpgradeRules {
  readonly path: string;
  /** Origins of pages that may connect, such as `https://example.com`; `*` is any. */
  readonly origins: readonly string[];
}

/** What counts of a request, as Node.js gives it. */
export interface RequestHead {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: {
    readonly host?: string | undefined;
    readonly origin?: string | undefined;
    readonly upgrade?: string | undefined;
    readonly 'sec-websocket-version'?: string | undefined;
    readonly 'sec-websocket-protocol'?: string | undefined;
  };
}

export interface HttpAnswer {
  readonly status: keyof typeof REASONS;
  /** For people, without a line end. */
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The only one [MQTT-6.0.0-4]. */
export const SUBPROTOCOL = 'mqtt';
const ANY_ORIGIN = '*';

/** RFC 6455 4.4: the version that is spoken here. */
const VERSION = '13';

/** Undefined: it may. */
export function refusalOf(request: RequestHead, rules: UpgradeRules): HttpAnswer | undefined {
  const { headers, method } = request;
  if (pathOf(request.url) !== rules.path) {
    return { status: 404, text: `nothing is here: MQTT over WebSocket is at ${rules.path}` };
  }
  if (method !== 'GET') {
    const text = 'MQTT over WebSocket begins with GET';
    return { status: 405, text, headers: { Allow: 'GET' } };
  }
  if (headers.upgrade?.toLowerCase() !== 'websocket') {
    const text = `this is no page: an MQTT client connects here, over WebSocket at ${rules.path}`;
    return { status: 426, text, headers: { Connection: 'Upgrade, close', Upgrade: 'websocket' } };
  }
  if (headers['sec-websocket-version'] !== VERSION) {
    const text = `version ${VERSION} of WebSocket is spoken here`;
    return { status: 426, text, headers: { 'Sec-WebSocket-Version': VERSION } };
  }
  const { origin, host } = headers;
  const isOurs = host !== undefined && origin === `https://${host}`;
  if (origin !== undefined && !isOurs && !allows(rules.origins, origin)) {
    return { status: 403, text: 'pages of this origin may not connect' };
  }
  if (!offers(headers['sec-websocket-protocol'])) {
    // [MQTT-6.0.0-3]
    return { status: 400, text: `the client must offer the sub-protocol ${SUBPROTOCOL}` };
  }
  return undefined;
}

/** The answer as it goes over the socket, which then ends. */
export function answerText({ status, text, headers }: HttpAnswer): string {
  const body = `${text}\n`;
  const all = {
    Connection: 'close',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(utf8Size(body)),
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${REASONS[status]}\r\n${lines.join('')}\r\n${body}`;
}

const REASONS = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  426: 'Upgrade Required',
} as const;

function pathOf(url: string | undefined): string | undefined {
  const end = url?.indexOf('?') ?? -1;
  return end < 0 ? url : url?.slice(0, end);
}

/** RFC 6454 6.2: scheme and host come in small letters from a browser; a list may be written. */
function allows(origins: readonly string[], origin: string): boolean {
  return origins.includes(ANY_ORIGIN) || origins.includes(origin.toLowerCase());
}

function offers(list: string | undefined): boolean {
  return list?.split(',').some((name) => name.trim() === SUBPROTOCOL) ?? false;
}
