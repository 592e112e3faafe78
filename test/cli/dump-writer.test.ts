/** Every kind of command is printed, for people and for programs, from an entry that holds all. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type DumpedCommand, EntryDecoder } from '../../src/cli/dump/decoded-entries.ts';
import { asJson, asText } from '../../src/cli/dump/dump-writer.ts';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { type PlainCommand, writePlainCommand } from '../../src/shard/codec.ts';
import { CommandKind } from '../../src/shard/command-kinds.ts';
import { encodeSectionHeader } from '../../src/shard/entry.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';

async function golden(name: string): Promise<Uint8Array> {
  const path = join(import.meta.dirname, '../fixtures', name);
  return new Uint8Array(Buffer.from((await readFile(path, 'utf8')).replaceAll(/\s/g, ''), 'hex'));
}

const version = 3;
const OF_SHARDS: readonly PlainCommand[] = [
  { kind: 'place-queue', name: 'jobs', among: [0, 2], near: '' },
  { kind: 'unplace-queue', name: 'jobs', version },
  { kind: 'fence-names', version },
  { kind: 'add-shard', number: 1, founders: ['n1', 'n2'] },
  { kind: 'host-shard', number: 1, node: 'n3' },
  { kind: 'unhost-shard', number: 1, node: 'n3' },
];

function willBytes(): Uint8Array {
  const writer = new WireWriter(64);
  const payload = Buffer.from('gone');
  const message = { topic: 'w/ä', payload, qos: 1, retain: false, properties: undefined } as const;
  new StoredMessageWriter().write(writer, message, { clientId: 'c', protocol: 'mqtt' });
  return writer.take();
}

const owned = { queueId: 7 as QueueId, ownerEpoch: 5 };
const OF_SESSIONS: readonly PlainCommand[] = [
  {
    kind: 'claim-session',
    queueId: owned.queueId,
    epoch: 4,
    token: 't-1',
    cleanStart: false,
    incarnation: 'i-1',
    user: 'ann',
    expirySeconds: 60,
    limits: { maxMessages: 10, maxBytes: 1_000, overflow: 'drop-head' },
    will: { delaySeconds: 8, message: willBytes() },
  },
  {
    kind: 'change-session',
    ...owned,
    subscribe: [
      {
        filter: 'rooms/+',
        qos: 1,
        noLocal: false,
        retainAsPublished: true,
        retainHandling: 0,
        identifier: 9,
        wish: '',
      },
    ],
    unsubscribe: ['halls/#'],
  },
  {
    kind: 'replay-session',
    ...owned,
    replays: [{ filter: 'rooms/+', run: 5, next: 0, end: 77 }],
  },
  { kind: 'halve-session', ...owned, offset: 3 as Offset },
  { kind: 'finish-session', ...owned, offset: 3 as Offset },
  { kind: 'leave-session', ...owned, expirySeconds: 30, isInPeace: true },
  { kind: 'resume-session', ...owned },
  { kind: 'delete-session', ...owned },
  { kind: 'receive-session', ...owned, packetId: 65_535 },
  {
    kind: 'choose-session',
    ...owned,
    packetId: 65_534,
    token: 3,
    choices: [{ share: 2 ** 40, queueId: 11 as QueueId }],
    isInstead: false,
  },
  { kind: 'end-will', queueId: owned.queueId, number: 5 },
];
const ADDED = [...OF_SHARDS, ...OF_SESSIONS];

/** What came with several shards and with sessions, in a section of its own behind the others. */
async function entry(): Promise<Uint8Array> {
  const between = await golden('transfers-v1.hex');
  const writer = new WireWriter(256);
  for (const command of ADDED) writePlainCommand(writer, command);
  const plain = writer.written();
  const header = encodeSectionHeader({
    node: '',
    boot: 0,
    firstNumber: 0,
    answeredUpTo: 0,
    stampMs: 1_700_000_000_000,
    commands: ADDED.length + 4,
    commandBytes: plain.length + between.length,
  });
  return Buffer.concat([await golden('entry-v1.hex'), header, plain, between]);
}

function claimed(commands: readonly DumpedCommand[]): DumpedCommand {
  const found = commands.find(({ command }) => command.kind === 'claim-session');
  if (found === undefined) throw new Error('no claim in the entry');
  return found;
}

describe('a dump of commands', () => {
  it('has a line for each kind, that names what is in it', async () => {
    const commands = new EntryDecoder(undefined).decode(1 as LogIndex, await entry());
    const lines = commands.map((dumped) =>
      asText({ kind: 'command', dumped, queues: ['orders'] }, true).trim(),
    );
    const kinds = new Set(commands.map(({ command }) => command.kind));
    expect(kinds.size).toBe(Object.keys(CommandKind).length);
    for (const [at, line] of lines.entries()) {
      expect(line.startsWith(commands[at]?.command.kind ?? '?'), line).toBe(true);
    }
    const text = lines.join('\n');
    expect(text).toContain('enqueue n1/3/41 orders topic $queue/orders/ä, 4 B');
    expect(text).toContain('transfer intent 68719476736 orders topic $queue/orders/ä');
    expect(text).toContain('settle-range orders group 7 offsets 1 to 9 (expired)');
    expect(text).toContain('move-range orders group 7 offsets 1 to 9 to source');
    expect(text).toMatch(/release .*s-1.*65535/);
    expect(text).toMatch(/create-group .*automatic.*1700000000000/);
    expect(text).toContain('delayMs');
    expect(text).toMatch(/place-queue .*jobs/);
    expect(text).toMatch(/replay-session .*rooms.*77/);
    expect(text).toMatch(/add-shard .*1.*n1/);
    expect(text).toMatch(/claim-session .*i-1/);
    const will = '"will":{"delaySeconds":8,"topic":"w/ä","messageBytes":4';
    expect(text.replaceAll('\\', '')).toContain(`${will},"payload":"Z29uZQ=="}`);
    const short = asText({ kind: 'command', dumped: claimed(commands), queues: [] }, false);
    expect(short).not.toContain('payload');
    expect(text).toMatch(/change-session .*rooms/);
    expect(text).toMatch(/receive-session .*65535/);
    expect(text).toMatch(/choose-session .*65534.*1099511627776/);
    expect(text).toContain('take-transfer shard 63/8589934592');
  });

  it('is one object a line for programs', async () => {
    const commands = new EntryDecoder(undefined).decode(1 as LogIndex, await entry());
    for (const dumped of commands) {
      const line = asJson({ kind: 'command', dumped, queues: [] }, true);
      expect(JSON.parse(line)).toMatchObject({ event: 'command', command: dumped.command.kind });
    }
  });
});
