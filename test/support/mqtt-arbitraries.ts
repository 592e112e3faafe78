/** What MQTT packets can hold, for property tests; only what is legal. */

import { fc } from './properties.ts';

import type { PublishProperties } from '../../src/protocol/mqtt/packet.ts';
import { isTopicName } from '../../src/protocol/mqtt/topic.ts';

export const packetId = fc.integer({ min: 1, max: 65_535 });
export const qos = fc.constantFrom(0, 1, 2);
export const version = fc.constantFrom(4 as const, 5 as const);
export const binary = fc.uint8Array({ maxLength: 300 });
const u32 = fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.integer({ min: 0, max: 0xffff_ffff }));

/** Text of any characters but U+0000. */
export const text = fc
  .string({ unit: 'binary', maxLength: 60 })
  .map((raw) => raw.replaceAll('\0', '_'));

export const topicName = fc.oneof(
  fc.constantFrom('a', 'a/b/c', '$queue/orders', '/'),
  text.map((raw) => raw.replaceAll(/[+#]/gu, '_')).filter(isTopicName),
);

const level = fc.constantFrom('a', 'ü', '', 'orders', '+');

export const topicFilter = fc.oneof(
  fc
    .array(level, { minLength: 1, maxLength: 5 })
    .map((levels) => levels.join('/'))
    .filter((filter) => filter !== ''),
  fc.constantFrom('#', 'a/#', '+/#', '$share/g/a', '$share/group/+/#', '$queue/orders/#'),
);

/**
 * What the oracle's object of lists keeps: names are grouped, not numbers and not those that every
 * object has; values are not empty.
 */
const groupedUserProperties = fc
  .uniqueArray(
    fc.tuple(
      text.filter((name) => !/^\d*$/u.test(name) && !(name in Object.prototype)),
      fc.array(
        text.filter((value) => value !== ''),
        { minLength: 1, maxLength: 3 },
      ),
    ),
    { minLength: 1, maxLength: 3, selector: ([name]) => name },
  )
  .map((groups) =>
    groups.flatMap(([name, values]) => values.map((value) => [name, value] as const)),
  );

/** Undefined for one that is empty: that is how none is told. */
function orNone<Value extends object>(
  arbitrary: fc.Arbitrary<Value>,
): fc.Arbitrary<Value | undefined> {
  return arbitrary.map((value) => (Object.keys(value).length === 0 ? undefined : value));
}

const message = {
  payloadFormatIndicator: fc.constantFrom(0 as const, 1 as const),
  messageExpiryInterval: u32,
  contentType: text,
  responseTopic: topicName,
  correlationData: binary,
  userProperties: groupedUserProperties,
};

export const publishProperties: fc.Arbitrary<PublishProperties | undefined> = orNone(
  fc.record({ ...message, topicAlias: fc.integer({ min: 1, max: 65_535 }) }, { requiredKeys: [] }),
);

export const willProperties = orNone(
  fc.record({ ...message, willDelayInterval: u32 }, { requiredKeys: [] }),
);

export const connectProperties = orNone(
  fc.record(
    {
      sessionExpiryInterval: u32,
      receiveMaximum: fc.integer({ min: 1, max: 65_535 }),
      maximumPacketSize: u32.map((value) => Math.max(1, value)),
      topicAliasMaximum: fc.integer({ min: 0, max: 65_535 }),
      requestResponseInformation: fc.boolean(),
      requestProblemInformation: fc.boolean(),
      userProperties: groupedUserProperties,
      authenticationMethod: text,
    },
    { requiredKeys: [] },
  ),
);

export const diagnosticProperties = orNone(
  fc.record({ reasonString: text, userProperties: groupedUserProperties }, { requiredKeys: [] }),
);

export const connackProperties = orNone(
  fc.record(
    {
      sessionExpiryInterval: u32,
      receiveMaximum: fc.integer({ min: 1, max: 65_535 }),
      maximumQos: fc.constantFrom(0 as const, 1 as const),
      retainAvailable: fc.boolean(),
      maximumPacketSize: u32.map((value) => Math.max(1, value)),
      assignedClientIdentifier: text,
      topicAliasMaximum: fc.integer({ min: 0, max: 65_535 }),
      reasonString: text,
      userProperties: groupedUserProperties,
      wildcardSubscriptionAvailable: fc.boolean(),
      subscriptionIdentifierAvailable: fc.boolean(),
      sharedSubscriptionAvailable: fc.boolean(),
      serverKeepAlive: fc.integer({ min: 0, max: 65_535 }),
      responseInformation: text,
      serverReference: text,
      authenticationMethod: text,
      authenticationData: binary,
    },
    { requiredKeys: [] },
  ),
);
