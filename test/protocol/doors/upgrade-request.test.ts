/** Which requests become a WebSocket, and that every other one is told why not. */

import { describe, expect, test } from 'vitest';
import {
  type RequestHead,
  answerText,
  refusalOf,
} from '../../../src/protocol/doors/upgrade-request.ts';

const RULES = { path: '/mqtt', origins: ['https://app.example.com'] };
const HEADERS = {
  host: 'broker.example.com:9001',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-protocol': 'mqtt',
};

function status(change: Partial<RequestHead>, rules = RULES): number | undefined {
  return refusalOf({ method: 'GET', url: '/mqtt', headers: HEADERS, ...change }, rules)?.status;
}

function withHeaders(headers: RequestHead['headers']): Partial<RequestHead> {
  return { headers: { ...HEADERS, ...headers } };
}

describe('an upgrade', () => {
  test.each<[string, Partial<RequestHead>]>([
    ['as a program asks for it', {}],
    ['with a query', { url: '/mqtt?token=1' }],
    ['with the protocol among others', withHeaders({ 'sec-websocket-protocol': 'a, mqtt ,b' })],
    ['in other letters', withHeaders({ upgrade: 'WebSocket' })],
    ['of a page that was named', withHeaders({ origin: 'https://app.example.com' })],
    ['of paho, which names us', withHeaders({ origin: 'https://broker.example.com:9001' })],
  ])('%s is let through', (_, change) => {
    expect(status(change)).toBeUndefined();
  });

  test.each<[string, Partial<RequestHead>, number]>([
    ['for another path', { url: '/' }, 404],
    ['for a path that only begins alike', { url: '/mqtt/x' }, 404],
    ['without a URL', { url: undefined }, 404],
    ['with another method', { method: 'POST' }, 405],
    ['that is none', withHeaders({ upgrade: undefined }), 426],
    ['to something else', withHeaders({ upgrade: 'h2c' }), 426],
    ['of an old version', withHeaders({ 'sec-websocket-version': '8' }), 426],
    [
      '[MQTT-6.0.0-3] without the protocol',
      withHeaders({ 'sec-websocket-protocol': undefined }),
      400,
    ],
    ['with a protocol of another name', withHeaders({ 'sec-websocket-protocol': 'mqttv3.1' }), 400],
    ['of another page', withHeaders({ origin: 'https://evil.example' }), 403],
    ['of a page within', withHeaders({ origin: 'https://x.app.example.com' }), 403],
    ['of the same host without TLS', withHeaders({ origin: 'http://app.example.com' }), 403],
    [
      'of a page whose name leads here',
      withHeaders({ origin: 'http://broker.example.com:9001' }),
      403,
    ],
    ['of another port', withHeaders({ origin: 'https://broker.example.com' }), 403],
    ['of nothing for nothing', withHeaders({ host: undefined, origin: 'https://' }), 403],
    ['of a page without an origin of its own', withHeaders({ origin: 'null' }), 403],
  ])('%s is refused', (_, change, expected) => {
    expect(status(change)).toBe(expected);
  });

  test('without any origin named no page is let in, and with * each is', () => {
    const page = withHeaders({ origin: 'http://localhost:8000' });
    expect(status(page, { ...RULES, origins: [] })).toBe(403);
    expect(status({}, { ...RULES, origins: [] })).toBeUndefined();
    expect(status(page, { ...RULES, origins: ['*'] })).toBeUndefined();
  });
});

test('an answer is whole HTTP that ends the connection and says its length', () => {
  expect(answerText({ status: 404, text: 'nothing é' })).toBe(
    'HTTP/1.1 404 Not Found\r\nConnection: close\r\n' +
      'Content-Type: text/plain; charset=utf-8\r\nContent-Length: 11\r\n' +
      'X-Content-Type-Options: nosniff\r\n\r\nnothing é\n',
  );
});
