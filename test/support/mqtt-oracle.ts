/**
 * mqtt-packet as an oracle for our codec, where it is right: it keeps user properties in an object
 * (so their order only within groups of one name), takes a payload format indicator as a boolean,
 * and a subscription identifier alone or in a list. Where it is known to be wrong, tests use bytes
 * written by hand.
 */

import { Buffer } from 'node:buffer';

import mqttPacket, { type Packet } from 'mqtt-packet';

import { plain } from './mqtt-decoding.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Our properties in its words. */
export function toOracle(properties: object | undefined): Record<string, unknown> | undefined {
  if (properties === undefined) return undefined;
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'payloadFormatIndicator') {
      out[name] = value === 1;
    } else if (name === 'userProperties') {
      out[name] = grouped(value as readonly (readonly [string, string])[]);
    } else if (name === 'subscriptionIdentifiers') {
      const identifiers = value as readonly number[];
      out['subscriptionIdentifier'] = identifiers.length === 1 ? identifiers[0] : identifiers;
    } else if (name === 'maximumQos') {
      out['maximumQoS'] = value;
    } else if (name === 'subscriptionIdentifierAvailable') {
      out['subscriptionIdentifiersAvailable'] = value;
    } else {
      out[name] = value instanceof Uint8Array ? Buffer.from(value) : value;
    }
  }
  return out;
}

function grouped(pairs: readonly (readonly [string, string])[]): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = {};
  for (const [name, value] of pairs) {
    const before = out[name];
    if (before === undefined) out[name] = value;
    else out[name] = [...(typeof before === 'string' ? [before] : before), value];
  }
  return out;
}

export function generate(packet: Fields, protocolVersion: 4 | 5): Buffer {
  const isConnect = packet['cmd'] === 'connect';
  const fields = isConnect ? { protocolId: 'MQTT', protocolVersion, ...packet } : packet;
  return mqttPacket.generate(fields as unknown as Packet, { protocolVersion });
}

/** The one packet in these bytes, views as hex, without what tells nothing. */
export function parse(bytes: Uint8Array, protocolVersion: 4 | 5): Fields {
  const parser = mqttPacket.parser({ protocolVersion });
  const packets: Packet[] = [];
  parser.on('packet', (packet: Packet) => packets.push(packet));
  parser.on('error', (error: Error) => {
    throw error;
  });
  const rest = parser.parse(Buffer.from(bytes));
  if (packets.length !== 1 || rest !== 0) {
    throw new Error(`${packets.length} packets and ${rest} bytes more`);
  }
  return plain({ ...packets[0] }) as Fields;
}
