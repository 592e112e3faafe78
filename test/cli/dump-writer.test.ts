/** Every kind of command is printed, for people and for programs, from an entry that holds all. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EntryDecoder } from '../../src/cli/dump/decoded-entries.ts';
import { asJson, asText } from '../../src/cli/dump/dump-writer.ts';
import type { LogIndex } from '../../src/machine/ids.ts';
import { CommandKind } from '../../src/shard/command-kinds.ts';

async function goldenEntry(): Promise<Uint8Array> {
  const path = join(import.meta.dirname, '../fixtures/entry-v1.hex');
  return new Uint8Array(Buffer.from((await readFile(path, 'utf8')).replaceAll(/\s/g, ''), 'hex'));
}

describe('a dump of commands', () => {
  it('has a line for each kind, that names what is in it', async () => {
    const commands = new EntryDecoder(false).decode(1 as LogIndex, await goldenEntry());
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
  });

  it('is one object a line for programs', async () => {
    const commands = new EntryDecoder(false).decode(1 as LogIndex, await goldenEntry());
    for (const dumped of commands) {
      const line = asJson({ kind: 'command', dumped, queues: [] }, true);
      expect(JSON.parse(line)).toMatchObject({ event: 'command', command: dumped.command.kind });
    }
  });
});
