import { describe, expect, it } from 'vitest';
import { decodePayloads } from '../../src/shard/catch-up-codec.ts';
import { firstSizes, PayloadsWriter } from '../../src/shard/payloads-writer.ts';
import { fc } from '../support/properties.ts';

const message = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.nat(40_000).map((length) => new Uint8Array(length).fill(length % 251)),
);
const answer = fc.record({
  messages: fc.array(message, { maxLength: 12 }),
  gaps: fc.array(fc.nat(5), { minLength: 12, maxLength: 12 }),
  first: fc.nat(2 ** 40),
  goneAt: fc.nat(2 ** 40),
});

/** The memory that is behind a view, and not only as much as it shows. */
const memoryOf = ({ buffer }: Uint8Array): unknown => buffer;

describe('an answer with payloads', () => {
  it('says what was added, whatever came before it in the same transfer', () => {
    fc.assert(
      fc.property(fc.array(answer, { minLength: 1, maxLength: 4 }), (answers) => {
        const sizes = firstSizes();
        for (const { messages, gaps, first, goneAt } of answers) {
          const made = new PayloadsWriter(sizes);
          let next = first;
          const offsets = messages.map((_, nth) => (next += (gaps[nth] ?? 0) + 1) - 1);
          for (const [nth, bytes] of messages.entries()) {
            made.add(offsets[nth] ?? 0, nth + 7, bytes);
          }
          const read = decodePayloads(made.finish(next, goneAt));
          expect({ ...read, messages: [] }).toEqual({
            next,
            goneAt,
            offsets,
            indexes: messages.map((_, nth) => nth + 7),
            messages: [],
          });
          expect(read.messages.length).toBe(messages.length);
          for (const [nth, bytes] of messages.entries()) {
            expect(Buffer.compare(read.messages[nth] ?? new Uint8Array(1), bytes)).toBe(0);
          }
        }
      }),
    );
  });

  it('is the same where its head is longer than that of the answer before', () => {
    const sizes = firstSizes();
    for (const count of [1, 3_000, 2]) {
      const made = new PayloadsWriter(sizes);
      for (let offset = 0; offset < count; offset++) made.add(offset, 2 ** 33, Uint8Array.of(9));
      const read = decodePayloads(made.finish(count, 0));
      expect(read.offsets.length).toBe(count);
      expect(read.messages.every(({ length }) => length === 1)).toBe(true);
    }
  });

  it('has bytes of its own, so that a message may be written over once it was added', () => {
    const made = new PayloadsWriter(firstSizes());
    const bytes = Uint8Array.of(1, 2, 3);
    made.add(0, 1, bytes);
    bytes.fill(0);
    const read = decodePayloads(made.finish(1, 0));
    expect([...(read.messages[0] ?? [])]).toEqual([1, 2, 3]);
  });

  it('is read without a copy: its messages are views of it', () => {
    const made = new PayloadsWriter(firstSizes());
    made.add(0, 1, new Uint8Array(300));
    const bytes = made.finish(1, 0);
    expect(memoryOf(decodePayloads(bytes).messages[0] ?? new Uint8Array(0))).toBe(memoryOf(bytes));
  });

  it('a large message once does not make the room for those behind it large', () => {
    const sizes = firstSizes();
    const large = new PayloadsWriter(sizes);
    large.add(0, 1, new Uint8Array(8 << 20));
    large.finish(1, 0);
    const small = new PayloadsWriter(sizes);
    small.add(1, 1, new Uint8Array(8));
    expect(small.finish(2, 0).buffer.byteLength).toBeLessThan(2 << 20);
  });
});
