/**
 * The properties of MQTT 5.0 (2.2.2): one table, read and written.
 *
 *     property length (variable byte integer) | (identifier (variable byte integer) | value) ...
 *
 * Reading enforces what the table says: which packet may carry what, what may repeat, which values
 * exist. The order of user properties is kept [MQTT-3.3.2-18]. No name from the wire becomes a key:
 * user properties are pairs in a list.
 */

import type { ByteReader, ByteWriter } from '../bytes.ts';
import {
  readBinary,
  readString,
  readVarint,
  sizeOfString,
  sizeOfVarint,
  writeBinary,
  writeString,
  writeVarint,
} from './fields.ts';
import type { Properties } from './packet.ts';
import { Faults, type ProtocolError } from './protocol-error.ts';
import { isTopicName } from './topic.ts';

/** The packets that have properties, as bits; the will has its own in CONNECT. */
export const Carrier = {
  publish: 1,
  will: 2,
  connect: 4,
  /** PUBACK, PUBREC, PUBREL, PUBCOMP. */
  acknowledgement: 8,
  subscribe: 16,
  unsubscribe: 32,
  disconnect: 64,
  auth: 128,
  /** CONNACK, SUBACK, UNSUBACK: never received. */
  server: 256,
} as const;
export type Carrier = (typeof Carrier)[keyof typeof Carrier];

type Name = keyof Properties;
type NamesOf<Value> = {
  [name in Name]-?: Required<Properties>[name] extends Value ? name : never;
}[Name];
type StringName = NamesOf<string>;
type BinaryName = NamesOf<Uint8Array>;
type FlagName = NamesOf<boolean>;
type BitName = 'payloadFormatIndicator' | 'maximumQos';
type IntegerName = Exclude<NamesOf<number>, BitName>;

type Shape =
  | { readonly wire: 'bit'; readonly name: BitName }
  | { readonly wire: 'flag'; readonly name: FlagName }
  | { readonly wire: 'u16' | 'u32'; readonly name: IntegerName; readonly min: 0 | 1 }
  | { readonly wire: 'varint'; readonly name: 'subscriptionIdentifiers' }
  | { readonly wire: 'string'; readonly name: StringName }
  | { readonly wire: 'binary'; readonly name: BinaryName }
  | { readonly wire: 'pair'; readonly name: 'userProperties' };

type Row = Shape & { readonly id: number; readonly carriers: number };

const MESSAGE = Carrier.publish | Carrier.will;
const SIGN_ON = Carrier.connect | Carrier.auth;
const ANY = 511;
const SERVER = Carrier.server;

/** Table 2-4 of the specification. */
const ROWS: readonly Row[] = [
  { id: 0x01, wire: 'bit', name: 'payloadFormatIndicator', carriers: MESSAGE },
  { id: 0x02, wire: 'u32', name: 'messageExpiryInterval', min: 0, carriers: MESSAGE },
  { id: 0x03, wire: 'string', name: 'contentType', carriers: MESSAGE },
  { id: 0x08, wire: 'string', name: 'responseTopic', carriers: MESSAGE },
  { id: 0x09, wire: 'binary', name: 'correlationData', carriers: MESSAGE },
  { id: 0x0b, wire: 'varint', name: 'subscriptionIdentifiers', carriers: Carrier.subscribe },
  {
    id: 0x11,
    wire: 'u32',
    name: 'sessionExpiryInterval',
    min: 0,
    carriers: Carrier.connect | Carrier.disconnect | SERVER,
  },
  { id: 0x12, wire: 'string', name: 'assignedClientIdentifier', carriers: SERVER },
  { id: 0x13, wire: 'u16', name: 'serverKeepAlive', min: 0, carriers: SERVER },
  { id: 0x15, wire: 'string', name: 'authenticationMethod', carriers: SIGN_ON | SERVER },
  { id: 0x16, wire: 'binary', name: 'authenticationData', carriers: SIGN_ON | SERVER },
  { id: 0x17, wire: 'flag', name: 'requestProblemInformation', carriers: Carrier.connect },
  { id: 0x18, wire: 'u32', name: 'willDelayInterval', min: 0, carriers: Carrier.will },
  { id: 0x19, wire: 'flag', name: 'requestResponseInformation', carriers: Carrier.connect },
  { id: 0x1a, wire: 'string', name: 'responseInformation', carriers: SERVER },
  { id: 0x1c, wire: 'string', name: 'serverReference', carriers: Carrier.disconnect | SERVER },
  {
    id: 0x1f,
    wire: 'string',
    name: 'reasonString',
    carriers: Carrier.acknowledgement | Carrier.disconnect | Carrier.auth | SERVER,
  },
  { id: 0x21, wire: 'u16', name: 'receiveMaximum', min: 1, carriers: Carrier.connect | SERVER },
  { id: 0x22, wire: 'u16', name: 'topicAliasMaximum', min: 0, carriers: Carrier.connect | SERVER },
  { id: 0x23, wire: 'u16', name: 'topicAlias', min: 1, carriers: Carrier.publish },
  { id: 0x24, wire: 'bit', name: 'maximumQos', carriers: SERVER },
  { id: 0x25, wire: 'flag', name: 'retainAvailable', carriers: SERVER },
  { id: 0x26, wire: 'pair', name: 'userProperties', carriers: ANY },
  { id: 0x27, wire: 'u32', name: 'maximumPacketSize', min: 1, carriers: Carrier.connect | SERVER },
  { id: 0x28, wire: 'flag', name: 'wildcardSubscriptionAvailable', carriers: SERVER },
  { id: 0x29, wire: 'flag', name: 'subscriptionIdentifierAvailable', carriers: SERVER },
  { id: 0x2a, wire: 'flag', name: 'sharedSubscriptionAvailable', carriers: SERVER },
];

/** The bit in the mask of what was seen: there are fewer rows than bits. */
type NumberedRow = Row & { readonly bit: number };
const NUMBERED: readonly NumberedRow[] = ROWS.map((row, index) => ({ ...row, bit: 1 << index }));

const BY_ID: readonly (NumberedRow | undefined)[] = Array.from({ length: 0x2b }, (_, id) =>
  NUMBERED.find((row) => row.id === id),
);
const BY_NAME: ReadonlyMap<string, Row> = new Map(ROWS.map((row) => [row.name, row]));

type Draft = { -readonly [name in Name]?: Properties[name] };
type Reader = ByteReader<ProtocolError>;

/**
 * Reads the property length and the properties of one packet. Undefined if there are none, and
 * after a fault, which the reader then holds.
 */
export function readProperties(reader: Reader, carrier: Carrier): Properties | undefined {
  const length = readVarint(reader);
  if (length === 0) return undefined;
  const packetEnd = reader.end;
  const end = reader.position + length;
  if (end > packetEnd) {
    reader.fail(Faults.truncated);
    return undefined;
  }
  // No property can reach past the property length.
  reader.end = end;
  const target: Draft = {};
  const pairs: (readonly [string, string])[] = [];
  let seen = 0;
  while (reader.position < end) {
    const row = BY_ID[readVarint(reader)];
    const fault = rowFault(row, carrier, seen);
    if (row === undefined || fault !== undefined) {
      reader.fail(fault ?? Faults.propertyUnknown);
      break;
    }
    if (row.wire === 'pair') {
      pairs.push([readString(reader), readString(reader)]);
    } else {
      seen |= row.bit;
      readValue(reader, row, target);
    }
  }
  if (reader.fault !== undefined) return undefined;
  reader.end = packetEnd;
  if (pairs.length > 0) target.userProperties = pairs;
  return target;
}

function rowFault(
  row: NumberedRow | undefined,
  carrier: Carrier,
  seen: number,
): ProtocolError | undefined {
  if (row === undefined) return Faults.propertyUnknown;
  if ((row.carriers & carrier) === 0) {
    return row.wire === 'varint' && carrier === Carrier.publish
      ? Faults.subscriptionIdInPublish
      : Faults.propertyNotAllowed;
  }
  return (seen & row.bit) !== 0 ? Faults.propertyRepeated : undefined;
}

function readValue(reader: Reader, row: Row, target: Draft): void {
  switch (row.wire) {
    case 'bit':
    case 'flag': {
      const value = reader.u8();
      if (value > 1) reader.fail(Faults.propertyValue);
      else if (row.wire === 'flag') target[row.name] = value === 1;
      else target[row.name] = value === 1 ? 1 : 0;
      return;
    }
    case 'u16':
    case 'u32': {
      const value = row.wire === 'u16' ? reader.u16() : reader.u32();
      if (value < row.min) {
        reader.fail(row.name === 'topicAlias' ? Faults.topicAliasZero : Faults.propertyValue);
      }
      target[row.name] = value;
      return;
    }
    case 'varint': {
      const value = readVarint(reader);
      if (value === 0) reader.fail(Faults.propertyValue);
      target[row.name] = [value];
      return;
    }
    case 'string': {
      const text = readString(reader);
      if (row.name === 'responseTopic' && !isTopicName(text)) reader.fail(Faults.responseTopic);
      target[row.name] = text;
      return;
    }
    case 'binary':
      target[row.name] = readBinary(reader);
      return;
    case 'pair':
      return;
  }
}

/** The row of a property that we are about to send. */
function rowOf(name: string): Row {
  const row = BY_NAME.get(name);
  if (row === undefined) throw new Error(`no such MQTT property: ${name}`);
  return row;
}

/** How many bytes the properties take, without the property length in front. */
export function sizeOfProperties(properties: Properties | undefined): number {
  let size = 0;
  for (const name in properties) size += sizeOfValue(rowOf(name), properties);
  return size;
}

function sizeOfValue(row: Row, properties: Properties): number {
  switch (row.wire) {
    case 'bit':
    case 'flag':
      return properties[row.name] === undefined ? 0 : 2;
    case 'u16':
      return properties[row.name] === undefined ? 0 : 3;
    case 'u32':
      return properties[row.name] === undefined ? 0 : 5;
    case 'varint': {
      let size = 0;
      for (const value of properties[row.name] ?? []) size += 1 + sizeOfVarint(value);
      return size;
    }
    case 'string': {
      const text = properties[row.name];
      return text === undefined ? 0 : 1 + sizeOfString(text);
    }
    case 'binary': {
      const bytes = properties[row.name];
      return bytes === undefined ? 0 : 3 + bytes.length;
    }
    case 'pair': {
      let size = 0;
      for (const [name, value] of properties[row.name] ?? []) {
        size += 1 + sizeOfString(name) + sizeOfString(value);
      }
      return size;
    }
  }
}

/**
 * Writes the property length `size` and the properties, in the order of the keys. `size` is that of
 * `sizeOfProperties`, and of what the caller writes behind them.
 */
export function writeProperties(
  out: ByteWriter,
  properties: Properties | undefined,
  size: number,
): void {
  writeVarint(out, size);
  for (const name in properties) writeValue(out, rowOf(name), properties);
}

function writeValue(out: ByteWriter, row: Row, properties: Properties): void {
  switch (row.wire) {
    case 'bit':
    case 'flag':
    case 'u16':
    case 'u32': {
      const value = properties[row.name];
      if (value !== undefined) writeInteger(out, row, Number(value));
      return;
    }
    case 'varint':
      for (const value of properties[row.name] ?? []) {
        out.u8(row.id);
        writeVarint(out, value);
      }
      return;
    case 'string': {
      const text = properties[row.name];
      if (text === undefined) return;
      out.u8(row.id);
      writeString(out, text);
      return;
    }
    case 'binary': {
      const bytes = properties[row.name];
      if (bytes === undefined) return;
      out.u8(row.id);
      writeBinary(out, bytes);
      return;
    }
    case 'pair':
      for (const [name, value] of properties[row.name] ?? []) {
        out.u8(row.id);
        writeString(out, name);
        writeString(out, value);
      }
      return;
  }
}

function writeInteger(out: ByteWriter, row: Row, value: number): void {
  out.u8(row.id);
  if (row.wire === 'u16') out.u16(value);
  else if (row.wire === 'u32') out.u32(value);
  else out.u8(value);
}
