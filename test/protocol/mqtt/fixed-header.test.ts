import { expect, test } from 'vitest';

import { headerFaults } from '../../../src/protocol/mqtt/fixed-header.ts';

/** Type and flags that a client may send, by version: 2.1.2 and 2.1.3, tables 2-1 and 2-2. */
const publishFlags = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13];
const legal4 = [
  ...publishFlags.map((flags) => 0x30 | flags),
  0x40,
  0x50,
  0x62,
  0x70,
  0x82,
  0xa2,
  0xc0,
  0xe0,
];

function accepted(phase: 'before-connect' | 4 | 5): number[] {
  return headerFaults(phase).flatMap((fault, byte) => (fault === undefined ? [byte] : []));
}

test('of 256 first bytes exactly the legal ones pass [MQTT-2.1.3-1]', () => {
  expect(accepted('before-connect')).toEqual([0x10]);
  expect(accepted(4)).toEqual(legal4);
  expect(accepted(5)).toEqual([...legal4, 0xf0]);
});

test('S2: first packet not CONNECT, a second CONNECT, and what only servers send are protocol errors', () => {
  for (let byte = 0; byte < 256; byte++) {
    if (byte >> 4 === 1) continue;
    expect(headerFaults('before-connect')[byte]?.fault).toBe('notConnect');
  }
  for (const version of [4, 5] as const) {
    const faults = headerFaults(version);
    expect(faults[0x10]?.fault).toBe('secondConnect');
    for (const type of [2, 9, 11, 13]) {
      for (let flags = 0; flags < 16; flags++) {
        expect(faults[(type << 4) | flags]?.fault).toBe('serverPacket');
        expect(faults[(type << 4) | flags]?.reasonCode).toBe(0x82);
      }
    }
  }
});

test('AUTH is a reserved type in 3.1.1', () => {
  expect(headerFaults(4)[0xf0]?.fault).toBe('reservedType');
});
