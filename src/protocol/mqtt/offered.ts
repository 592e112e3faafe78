/**
 * What a configuration may leave out of subscriptions: wildcards, shares, identifiers (MQTT 5.0
 * sections 3.2.2.3.11 to 3.2.2.3.13). CONNACK says so, and a 5.0 client that asks nevertheless is
 * disconnected with the reason; 3.1.1 could not be told, and hears 0x80 for the filter.
 */

import type { MqttOptions } from './options.ts';
import type { ConnackProperties, SubscribePacket, Subscription } from './packet.ts';
import { ReasonCode } from './reason-codes.ts';

type Offers = Pick<
  MqttOptions,
  'wildcardsAvailable' | 'sharesAvailable' | 'subscriptionIdentifiersAvailable'
>;

/** Only what is left out: the rest a client may assume. */
export function offeredProperties(offers: Offers): ConnackProperties {
  return {
    ...(!offers.wildcardsAvailable && { wildcardSubscriptionAvailable: false }),
    ...(!offers.sharesAvailable && { sharedSubscriptionAvailable: false }),
    ...(!offers.subscriptionIdentifiersAvailable && { subscriptionIdentifierAvailable: false }),
  };
}

const NO_WILDCARDS = {
  reasonCode: ReasonCode.wildcardSubscriptionsNotSupported,
  text: 'subscriptions with wildcards are off (server.mqtt.wildcard_available)',
} as const;
const NO_SHARES = {
  reasonCode: ReasonCode.sharedSubscriptionsNotSupported,
  text: 'shared subscriptions are off (server.mqtt.shared_available)',
} as const;
const NO_IDENTIFIERS = {
  reasonCode: ReasonCode.subscriptionIdentifiersNotSupported,
  text: 'subscription identifiers are off (server.mqtt.subscription_identifiers_available)',
} as const;

export type NotOffered = typeof NO_WILDCARDS | typeof NO_SHARES | typeof NO_IDENTIFIERS;

/** Of one filter; undefined: nothing that is left out. */
export function notOffered(
  { filter, shareName }: Subscription,
  offers: Offers,
): NotOffered | undefined {
  if (!offers.sharesAvailable && shareName !== undefined) return NO_SHARES;
  return !offers.wildcardsAvailable && /[+#]/.test(filter) ? NO_WILDCARDS : undefined;
}

/** Of a whole SUBSCRIBE, the first that is left out. */
export function notOfferedIn(packet: SubscribePacket, offers: Offers): NotOffered | undefined {
  const identified = packet.properties?.subscriptionIdentifiers !== undefined;
  if (identified && !offers.subscriptionIdentifiersAvailable) return NO_IDENTIFIERS;
  if (offers.wildcardsAvailable && offers.sharesAvailable) return undefined;
  for (const subscription of packet.subscriptions) {
    const missing = notOffered(subscription, offers);
    if (missing !== undefined) return missing;
  }
  return undefined;
}
