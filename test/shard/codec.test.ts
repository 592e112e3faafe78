import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import { VOID_REASONS } from '../../src/machine/command.ts';
import type {
  Command,
  EnqueueOptions,
  PublishKey,
  TakeTransferCommand,
} from '../../src/machine/command.ts';
import { DELAYED_QUEUE } from '../../src/machine/ids.ts';
import type { QueueId, StampMs } from '../../src/machine/ids.ts';
import { beginEnqueue, commandEnd, enqueuesTo, finishCommand } from '../../src/shard/codec.ts';
import {
  CommandDecoder,
  beginTake,
  beginTransfer,
  isSendersCommand,
} from '../../src/shard/codec.ts';
import { storedMessageStart, writePlainCommand, writeVoid } from '../../src/shard/codec.ts';
import { writeRelease } from '../../src/shard/codec.ts';
import type { PlainCommand } from '../../src/shard/codec.ts';
import { EntryReader, encodeSectionHeader } from '../../src/shard/entry.ts';
import { StoredMessageView, StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { CodecError, WireWriter } from '../../src/shard/wire.ts';
import { comparable, damaged, enqueueOptions, message } from '../support/shard-messages.ts';
import { plainCommand, publishKey, queueIds } from '../support/shard-messages.ts';

interface Enqueue {
  readonly kind: 'enqueue';
  readonly targets: readonly QueueId[];
  readonly options: EnqueueOptions | undefined;
  readonly message: Message;
}
type Transfer = Omit<Enqueue, 'kind'> & { readonly kind: 'transfer'; readonly intent: number };
type Take = Omit<Enqueue, 'kind'> & Omit<TakeTransferCommand, 'bytes' | 'topic'>;
type Void = { readonly kind: 'void'; readonly reason: (typeof VOID_REASONS)[number] };
type Release = { readonly kind: 'release'; readonly key: PublishKey };
type Given = Enqueue | Transfer | Take | Void | Release | PlainCommand;

interface Section {
  readonly node: string;
  readonly boot: number;
  readonly firstNumber: number;
  readonly answeredUpTo: number;
  readonly stampMs: number;
  readonly given: readonly Given[];
}

const options = fc.option(enqueueOptions, { nil: undefined });

const given: fc.Arbitrary<Given> = fc.oneof(
  fc.record({ kind: fc.constant('enqueue' as const), targets: queueIds, options, message }),
  fc.record({
    kind: fc.constant('transfer' as const),
    intent: fc.maxSafeNat(),
    targets: queueIds,
    options,
    message,
  }),
  fc.record({
    kind: fc.constant('take-transfer' as const),
    from: fc.maxSafeNat(),
    number: fc.maxSafeNat(),
    opened: fc.maxSafeNat().map((ms) => ms as StampMs),
    lowestOpen: fc.maxSafeNat(),
    targets: queueIds,
    options,
    message,
  }),
  fc.record({ kind: fc.constant('void' as const), reason: fc.constantFrom(...VOID_REASONS) }),
  fc.record({ kind: fc.constant('release' as const), key: publishKey }),
  plainCommand,
);

const section: fc.Arbitrary<Section> = fc.record({
  node: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  boot: fc.integer({ min: 1, max: 2 ** 40 }),
  firstNumber: fc.integer({ min: 1, max: 2 ** 50 }),
  answeredUpTo: fc.maxSafeNat(),
  stampMs: fc.maxSafeNat(),
  given: fc.array(given, { maxLength: 8 }),
});

function begin(writer: WireWriter, command: Enqueue | Transfer | Take): number {
  switch (command.kind) {
    case 'enqueue':
      return beginEnqueue(writer, command.targets, command.options);
    case 'transfer':
      return beginTransfer(writer, command);
    case 'take-transfer':
      return beginTake(writer, command);
  }
}

function write(writer: WireWriter, command: Given): void {
  if (command.kind === 'void') writeVoid(writer, command.reason);
  else if (command.kind === 'release') writeRelease(writer, command.key);
  else if ('message' in command) {
    const start = begin(writer, command);
    new StoredMessageWriter().write(writer, command.message, { clientId: 'c', protocol: 'mqtt' });
    finishCommand(writer, start);
  } else writePlainCommand(writer, command);
}

/** Each section as a header and one part for each command, or all commands in one part. */
function payload(sections: readonly Section[], apart: boolean): Uint8Array[] {
  return sections.flatMap((each) => {
    const parts = each.given.map((command) => {
      const writer = new WireWriter(8);
      write(writer, command);
      return writer.take();
    });
    const joined = new Uint8Array(Buffer.concat(parts));
    const header = encodeSectionHeader({
      ...each,
      commands: each.given.length,
      commandBytes: joined.length,
    });
    return [header, ...(apart ? parts : [joined])];
  });
}

/** What the reader is to give: plain, with the numbers that the section implies. */
function expected(each: Section): Command[] {
  const { node, boot, answeredUpTo } = each;
  let next = each.firstNumber;
  return each.given.map((command) => {
    if (command.kind === 'open-stream') return { kind: 'open-stream', node };
    if (command.kind === 'void' || command.kind === 'release') {
      return { ...command, node, boot, answeredUpTo, number: next++ };
    }
    if (!('message' in command)) return command;
    const writer = new WireWriter(8);
    new StoredMessageWriter().write(writer, command.message, { clientId: 'c', protocol: 'mqtt' });
    const { targets, options: wanted } = command;
    const { topic } = command.message;
    const stored = { targets, bytes: writer.length, topic, options: wanted };
    if (command.kind === 'transfer') return { kind: 'transfer', intent: command.intent, ...stored };
    if (command.kind === 'take-transfer') {
      const { kind, from, number, opened, lowestOpen } = command;
      return { kind, from, number, opened, lowestOpen, ...stored };
    }
    return { kind: 'enqueue', node, boot, answeredUpTo, number: next++, ...stored };
  });
}

function readAll(parts: readonly Uint8Array[]): Command[] {
  const reader = new EntryReader();
  reader.reset(parts);
  const commands: Command[] = [];
  for (let command = reader.next(); command !== undefined; command = reader.next()) {
    const copy = structuredClone(command);
    // The topic is read when it is asked for, and no field of the object.
    commands.push('topic' in command ? Object.assign(copy, { topic: command.topic }) : copy);
  }
  return commands;
}

describe('entries', () => {
  it('come back command by command, however their payload is cut into parts', () => {
    fc.assert(
      fc.property(fc.array(section, { maxLength: 4 }), fc.boolean(), (sections, apart) => {
        const commands = sections.flatMap(expected);
        expect(readAll(payload(sections, apart))).toEqual(commands);
        expect(readAll([new Uint8Array(Buffer.concat(payload(sections, apart)))])).toEqual(
          commands,
        );
      }),
      { numRuns: 300 },
    );
  });

  it('tell section, stamp and position of each command, and its message is found there', () => {
    fc.assert(
      fc.property(fc.array(section, { minLength: 1, maxLength: 4 }), (sections) => {
        const parts = payload(sections, false);
        const whole = new Uint8Array(Buffer.concat(parts));
        const reader = new EntryReader();
        reader.reset(parts);
        for (const [index, each] of sections.entries()) {
          for (const command of each.given) {
            expect(reader.next()?.kind).toBe(command.kind);
            expect(reader.sections).toBe(index + 1);
            expect(reader.stampMs).toBe(each.stampMs);
            if (!('message' in command)) continue;
            const at = reader.position;
            const start = storedMessageStart(whole, at);
            const view = new StoredMessageView(whole, start, commandEnd(whole, at));
            expect(comparable(view)).toEqual(comparable(command.message));
            const delayed = (command.options?.delayMs ?? 0) > 0;
            for (const target of command.targets) {
              expect(enqueuesTo(whole, at, target)).toBe(delayed === (target === DELAYED_QUEUE));
            }
            if (delayed) expect(enqueuesTo(whole, at, DELAYED_QUEUE)).toBe(true);
          }
        }
        expect(reader.next()).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });

  it('are a typed error or other commands when damaged', () => {
    fc.assert(
      fc.property(fc.array(section, { minLength: 1, maxLength: 2 }), (sections) => {
        const whole = new Uint8Array(Buffer.concat(payload(sections, false)));
        if (whole.length > 1200) return;
        for (const bytes of damaged(whole)) outcome(bytes);
      }),
      { numRuns: 10 },
    );
  });

  it('whose section ends within a command give nothing of what lies behind it', () => {
    fc.assert(
      fc.property(plainCommand, fc.nat({ max: 200 }), (command, missing) => {
        const one = { node: 'n', boot: 1, firstNumber: 1, answeredUpTo: 0, stampMs: 1 };
        const outcomes = [0, 0xff].map((fill) => {
          const writer = new WireWriter(8);
          write(writer, command);
          const whole = writer.take();
          const left = Math.max(0, whole.length - 1 - missing);
          const header = encodeSectionHeader({ ...one, commands: 1, commandBytes: left });
          const behind = new Uint8Array(300).fill(fill);
          // Once with the length that the command had, once with the one that it has.
          return [whole.length, left].map((length) => {
            const cut = whole.slice(0, left);
            if (left >= 4) new DataView(cut.buffer).setUint32(0, length, true);
            return outcome(new Uint8Array(Buffer.concat([header, cut, behind])));
          });
        });
        expect(outcomes.flat().every((each) => typeof each === 'string')).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('refuse a node id or commands that reach behind the section or the part', () => {
    const header = encodeSectionHeader({
      node: 'n',
      boot: 1,
      firstNumber: 1,
      answeredUpTo: 0,
      stampMs: 1,
      commands: 1,
      commandBytes: 6,
    });
    const writer = new WireWriter(8);
    writeVoid(writer, 'disk-full');
    const commands = writer.take();
    expect(readAll([header, commands])).toHaveLength(1);
    const longer = header.slice();
    new DataView(longer.buffer).setUint16(6, 2, true);
    expect(() => readAll([longer, commands])).toThrow(CodecError);
    const shorter = header.slice();
    new DataView(shorter.buffer).setUint32(0, header.length + 5, true);
    const reader = new EntryReader();
    reader.reset([shorter, commands]);
    expect(() => reader.next()).toThrow(expect.objectContaining({ code: 'bad-length' }));
    const emptier = header.slice();
    new DataView(emptier.buffer).setUint32(8, 0, true);
    expect(() => readAll([emptier, commands])).toThrow(CodecError);
  });

  it('that end anywhere but at the end of a section are an error', () => {
    const one: Section = {
      node: 'n1',
      boot: 1,
      firstNumber: 1,
      answeredUpTo: 0,
      stampMs: 5,
      given: [
        { kind: 'void', reason: 'disk-full' },
        { kind: 'delete-queue', queueId: 7 as QueueId },
      ],
    };
    const whole = new Uint8Array(Buffer.concat(payload([one], false)));
    expect(readAll([whole])).toHaveLength(2);
    for (let length = 1; length < whole.length; length++) {
      expect(() => readAll([whole.slice(0, length)]), String(length)).toThrow(CodecError);
    }
  });

  it('hold no numbered command outside of a stream', () => {
    const writer = new WireWriter(8);
    writeVoid(writer, 'unavailable');
    const header = { node: 'n', boot: 0, firstNumber: 0, answeredUpTo: 0, stampMs: 1, commands: 1 };
    const parts = [encodeSectionHeader({ ...header, commandBytes: 6 }), writer.take()];
    expect(() => readAll(parts)).toThrow(expect.objectContaining({ code: 'bad-value' }));
  });
});

describe('a walk over commands', () => {
  it('ends with an error at a length of nothing instead of going round', () => {
    expect(() => commandEnd(new Uint8Array(16), 0)).toThrow(CodecError);
    expect(() => commandEnd(new Uint8Array(4), 0)).toThrow(CodecError);
    expect(() => commandEnd(new Uint8Array([255, 255, 255, 255, 1]), 0)).toThrow(CodecError);
  });
});

function encoded(command: Given): Uint8Array {
  const writer = new WireWriter(8);
  write(writer, command);
  return writer.take();
}

describe('the commands of a sender', () => {
  const some: Message = {
    topic: '$queue/orders/a',
    payload: new Uint8Array([1]),
    qos: 1,
    retain: false,
    properties: undefined,
  };
  const targets = [1 as QueueId, 2 as QueueId];

  it('are enqueues and releases, and nothing else', () => {
    const key = { session: 's', ownerEpoch: 1, packetId: 7 };
    const enqueue: Given = { kind: 'enqueue', targets, options: undefined, message: some };
    expect(isSendersCommand(encoded(enqueue), 0)).toBe(true);
    expect(isSendersCommand(encoded({ kind: 'release', key }), 0)).toBe(true);
    expect(isSendersCommand(encoded({ kind: 'void', reason: 'disk-full' }), 0)).toBe(false);
    expect(isSendersCommand(encoded({ ...enqueue, kind: 'transfer', intent: 1 }), 0)).toBe(false);
  });

  it('that pass the check can be decoded, whatever was done to their bytes', () => {
    fc.assert(
      fc.property(queueIds, options, message, (ids, wanted, given) => {
        const whole = encoded({ kind: 'enqueue', targets: ids, options: wanted, message: given });
        if (whole.length > 600) return;
        for (const bytes of damaged(whole)) {
          if (!passes(bytes)) continue;
          const place = { node: 'n', boot: 1, number: 1, answeredUpTo: 0 };
          const command = structuredClone(new CommandDecoder().decode(bytes, 0, place));
          expect(['enqueue', 'release']).toContain(command.kind);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('are refused with options that say nothing, say too much, or are cut', () => {
    const wanted = { ttlMs: 5, priority: 3, delayMs: 7, producer: undefined, key: undefined };
    const whole = encoded({ kind: 'enqueue', targets, options: wanted, message: some });
    const at = 8 + 2 * 8;
    const changed = (where: number, value: number): Uint8Array => {
      const bytes = whole.slice();
      bytes[where] = value;
      return bytes;
    };
    expect(passes(whole)).toBe(true);
    expect(passes(changed(5, 2))).toBe(false);
    expect(passes(changed(at, 0))).toBe(false);
    expect(passes(changed(at, 17))).toBe(false);
    expect(passes(changed(at, 19))).toBe(false);
    expect(passes(changed(at + 1, 255))).toBe(false);
    expect(passes(changed(at + 2, 0))).toBe(false);
    expect(passes(changed(at + 2, 39))).toBe(false);
    expect(passes(changed(at + 3, 0))).toBe(false);
    expect(passes(changed(at + 11, 10))).toBe(false);
  });

  it('tell a topic that lies inside of them', () => {
    const whole = encoded({ kind: 'enqueue', targets, options: undefined, message: some });
    const topicBytes = 8 + 2 * 8 + 2;
    for (const wrong of [0, 0xffff]) {
      const bytes = whole.slice();
      new DataView(bytes.buffer).setUint16(topicBytes, wrong, true);
      expect(() => storedMessageStart(bytes, 0)).toThrow(CodecError);
    }
  });

  it('a definition announces no more than it has', () => {
    // An array of 2^31 elements, or a text of as many bytes, in a few bytes.
    for (const type of [0xdd, 0xdb]) {
      const bytes = new Uint8Array([0, 0, 0, 0, 5, 1, type, 0x80, 0, 0, 0, 1, 1]);
      new DataView(bytes.buffer).setUint32(0, bytes.length, true);
      const place = { node: 'n', boot: 0, number: 0, answeredUpTo: 0 };
      expect(() => new CommandDecoder().decode(bytes, 0, place)).toThrow(CodecError);
    }
  });
});

function passes(bytes: Uint8Array): boolean {
  try {
    return isSendersCommand(bytes, 0);
  } catch (error) {
    if (error instanceof CodecError) return false;
    throw error;
  }
}

function outcome(bytes: Uint8Array): unknown {
  try {
    return readAll([bytes]);
  } catch (error) {
    if (error instanceof CodecError) return error.code;
    throw error;
  }
}
