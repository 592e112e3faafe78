import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { CodecError, WireReader, WireWriter, readU64, writeU64 } from '../../src/shard/wire.ts';

describe('numbers of 64 bits', () => {
  it('come back exactly, up to the largest safe integer', () => {
    const bytes = new Uint8Array(8);
    fc.assert(
      fc.property(fc.maxSafeNat(), (number) => {
        writeU64(bytes, 0, number);
        expect(readU64(bytes, 0)).toBe(number);
        expect(new DataView(bytes.buffer).getBigUint64(0, true)).toBe(BigInt(number));
      }),
    );
    writeU64(bytes, 0, Number.MAX_SAFE_INTEGER);
    expect(readU64(bytes, 0)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('above that are an error, never a rounded number', () => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, 2n ** 53n, true);
    expect(() => readU64(bytes, 0)).toThrow(expect.objectContaining({ code: 'bad-value' }));
  });
});

describe('a reader', () => {
  it('never leaves its bounds, whatever it is asked for', () => {
    const reads: ((reader: WireReader) => unknown)[] = [
      (reader) => reader.u8(),
      (reader) => reader.u16(),
      (reader) => reader.u32(),
      (reader) => reader.u64(),
      (reader) => reader.f64(),
      (reader) => reader.text16(),
      (reader) => reader.text32(),
      (reader) => reader.view(3),
    ];
    const bytes = new Uint8Array(32).fill(1);
    for (const read of reads) {
      const reader = new WireReader(bytes, 8, 8);
      expect(() => read(reader)).toThrow(expect.objectContaining({ code: 'truncated' }));
    }
    // Texts of 257 and 16,843,009 bytes are announced, and there is room for none of them.
    expect(() => new WireReader(bytes, 0, 20).text16()).toThrow(CodecError);
    expect(() => new WireReader(bytes, 0, 20).text32()).toThrow(CodecError);
    expect(() => new WireReader(bytes, 0, 33)).toThrow(CodecError);
    expect(() => new WireReader(bytes, 5, 4)).toThrow(CodecError);
  });

  it('says when something is left', () => {
    const reader = new WireReader(new Uint8Array(2));
    reader.u8();
    expect(() => reader.finish()).toThrow(expect.objectContaining({ code: 'bad-length' }));
    reader.u8();
    reader.finish();
  });
});

describe('a writer', () => {
  it('keeps what it has when it grows', () => {
    const writer = new WireWriter(1);
    writer.u8(1);
    writer.u16(2);
    writer.u32(3);
    writer.u64(4);
    writer.f64(0.5);
    writer.text16('ä'.repeat(50));
    writer.text32('€');
    writer.append(new Uint8Array([9]));
    const reader = new WireReader(writer.take());
    expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.f64()]).toEqual([
      1, 2, 3, 4, 0.5,
    ]);
    expect([reader.text16(), reader.text32(), reader.u8()]).toEqual(['ä'.repeat(50), '€', 9]);
    reader.finish();
  });

  it('gives a nearly empty buffer as a small one, and a full one as it is', () => {
    const writer = new WireWriter(1000);
    writer.append(new Uint8Array(10));
    expect(writer.take().buffer.byteLength).toBe(10);
    writer.append(new Uint8Array(900));
    expect(writer.take().buffer.byteLength).toBe(1000);
    expect(writer.length).toBe(0);
  });

  it('refuses a text that is too long for its length field', () => {
    expect(() => new WireWriter(8).text16('x'.repeat(65_536))).toThrow(RangeError);
  });
});
