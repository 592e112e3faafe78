/** What mqtt-packet encodes, we decode to the same. */

import { Buffer } from 'node:buffer';

import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import { parseSharedFilter } from '../../../src/protocol/mqtt/topic.ts';
import {
  binary,
  connectProperties,
  diagnosticProperties,
  packetId,
  publishProperties,
  qos,
  text,
  topicFilter,
  topicName,
  version,
  willProperties,
} from '../../support/mqtt-arbitraries.ts';
import { decodeAll, decodeFromStart, plain } from '../../support/mqtt-decoding.ts';
import { generate, toOracle } from '../../support/mqtt-oracle.ts';

const runs = { numRuns: 300 };

function only<Value>(speaks: 4 | 5, value: Value | undefined): Value | undefined {
  return speaks === 5 ? value : undefined;
}

test('CONNECT', () => {
  const will = fc.record({
    topic: topicName,
    payload: binary.filter((payload) => payload.length > 0),
    qos,
    retain: fc.boolean(),
    properties: willProperties,
  });
  const connect = fc.record({
    clientId: text.filter((id) => id !== ''),
    clean: fc.boolean(),
    keepalive: fc.integer({ min: 0, max: 65_535 }),
    properties: connectProperties,
    will: fc.option(will, { nil: undefined }),
    username: fc.option(
      text.filter((name) => name !== ''),
      { nil: undefined },
    ),
    password: binary.filter((password) => password.length > 0),
  });
  fc.assert(
    fc.property(version, connect, (speaks, { properties, will: last, ...fields }) => {
      const password = fields.username === undefined ? undefined : Buffer.from(fields.password);
      const raw = generate(
        {
          cmd: 'connect',
          ...fields,
          password,
          properties: only(speaks, toOracle(properties)),
          will: last && {
            ...last,
            payload: Buffer.from(last.payload),
            properties: only(speaks, toOracle(last.properties)),
          },
        },
        speaks,
      );
      expect(decodeFromStart(raw)).toEqual([
        plain({
          kind: 'connect',
          version: speaks,
          clientId: fields.clientId,
          cleanStart: fields.clean,
          keepAliveSeconds: fields.keepalive,
          will: last && { ...last, properties: only(speaks, last.properties) },
          username: fields.username,
          password,
          properties: only(speaks, properties),
        }),
      ]);
    }),
    runs,
  );
});

test('PUBLISH', () => {
  const publish = fc.record({
    topic: topicName,
    payload: binary,
    qos,
    retain: fc.boolean(),
    dup: fc.boolean(),
    packetId,
    properties: publishProperties,
  });
  fc.assert(
    fc.property(version, publish, (speaks, fields) => {
      const dup = fields.dup && fields.qos > 0;
      const properties = only(speaks, fields.properties);
      const raw = generate(
        {
          cmd: 'publish',
          ...fields,
          payload: Buffer.from(fields.payload),
          dup,
          messageId: fields.packetId,
          properties: toOracle(properties),
        },
        speaks,
      );
      const expected = {
        kind: 'publish',
        ...fields,
        dup,
        properties,
        packetId: fields.qos > 0 ? fields.packetId : 0,
      };
      expect(decodeAll(speaks, raw)).toEqual([plain(expected)]);
    }),
    runs,
  );
});

test.each([
  ['puback', [0x00, 0x10, 0x80, 0x97]],
  ['pubrec', [0x00, 0x10, 0x80, 0x97]],
  ['pubrel', [0x00, 0x92]],
  ['pubcomp', [0x00, 0x92]],
] as const)('%s', (kind, reasons) => {
  fc.assert(
    fc.property(
      version,
      packetId,
      fc.constantFrom(...reasons),
      diagnosticProperties,
      (speaks, messageId, reasonCode, properties) => {
        const reason = speaks === 5 ? { reasonCode, properties: toOracle(properties) } : {};
        const expected = {
          kind,
          packetId: messageId,
          reasonCode: speaks === 5 ? reasonCode : 0,
          properties: only(speaks, properties),
        };
        const raw = generate({ cmd: kind, messageId, ...reason }, speaks);
        expect(decodeAll(speaks, raw)).toEqual([plain(expected)]);
      },
    ),
    runs,
  );
});

test('SUBSCRIBE and UNSUBSCRIBE', () => {
  const subscription = fc.record({
    topic: topicFilter,
    qos,
    nl: fc.boolean(),
    rap: fc.boolean(),
    rh: fc.constantFrom(0, 1, 2),
  });
  const identifier = fc.option(fc.integer({ min: 1, max: 268_435_455 }), { nil: undefined });
  fc.assert(
    fc.property(
      version,
      packetId,
      fc.array(subscription, { minLength: 1, maxLength: 5 }),
      identifier,
      (speaks, messageId, wanted, subscriptionIdentifier) => {
        const five = speaks === 5;
        const subscriptions = wanted.map((one) => ({
          ...one,
          nl: one.nl && !one.topic.startsWith('$share/'),
        }));
        const properties =
          five && subscriptionIdentifier !== undefined
            ? { subscriptionIdentifiers: [subscriptionIdentifier] }
            : undefined;
        const subscribe = generate(
          { cmd: 'subscribe', messageId, subscriptions, properties: toOracle(properties) },
          speaks,
        );
        const topicFilters = subscriptions.map(({ topic }) => topic);
        const unsubscribe = generate(
          { cmd: 'unsubscribe', messageId, unsubscriptions: topicFilters },
          speaks,
        );
        const expected = subscriptions.map(({ topic, qos: asked, nl, rap, rh }) => {
          const shared = parseSharedFilter(topic);
          if (shared === 'malformed') throw new Error('the arbitrary is wrong');
          return {
            topicFilter: topic,
            filter: shared?.filter ?? topic,
            shareName: shared?.shareName,
            qos: asked,
            noLocal: five && nl,
            retainAsPublished: five && rap,
            retainHandling: five ? rh : 0,
          };
        });
        expect(decodeAll(speaks, subscribe, unsubscribe)).toEqual([
          { kind: 'subscribe', packetId: messageId, subscriptions: expected, properties },
          { kind: 'unsubscribe', packetId: messageId, topicFilters, properties: undefined },
        ]);
      },
    ),
    runs,
  );
});

test('PINGREQ, DISCONNECT and AUTH', () => {
  fc.assert(
    fc.property(
      diagnosticProperties,
      fc.constantFrom(0x00, 0x04, 0x81),
      text,
      (properties, reasonCode, authenticationMethod) => {
        const auth = { ...properties, authenticationMethod };
        expect(
          decodeAll(
            5,
            generate({ cmd: 'pingreq' }, 5),
            generate({ cmd: 'auth', reasonCode: 0x18, properties: toOracle(auth) }, 5),
            generate({ cmd: 'disconnect', reasonCode, properties: toOracle(properties) }, 5),
          ),
        ).toEqual([
          { kind: 'pingreq' },
          { kind: 'auth', reasonCode: 0x18, properties: auth },
          { kind: 'disconnect', reasonCode, properties },
        ]);
      },
    ),
    runs,
  );
  expect(decodeAll(4, generate({ cmd: 'disconnect' }, 4))).toEqual([
    { kind: 'disconnect', reasonCode: 0, properties: undefined },
  ]);
});
