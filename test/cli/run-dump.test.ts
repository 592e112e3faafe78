/** What `fluxmq segment-dump` says of a run. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeFiles, Runs } from '../../storage/storage.ts';
import { dumpPath } from '../../src/cli/dump/dump-path.ts';
import { dumpRun, type RunDumpOptions } from '../../src/cli/dump/run-dump.ts';
import type { LogIndex } from '../../src/machine/ids.ts';
import { RUN_VALUE_HEADER_BYTES, writeRunValueHeader } from '../../src/shard/run-values.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';

let folder = '';
let path = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-run-dump-'));
  path = join(folder, '7.run');
  const runs = new Runs({
    files: nodeFiles(),
    directory: folder,
    owner: '00000000000000aa',
    blockBytes: 512,
    indexCacheBytes: 4096,
    now: () => 1_700_000_000_000,
  });
  const writer = await runs.create(7);
  const messages = new StoredMessageWriter();
  for (const queueId of [3, 5]) {
    for (let offset = 10; offset < 30; offset += 1) {
      const message = new WireWriter(256);
      messages.write(
        message,
        {
          topic: `$queue/q${queueId}`,
          payload: Buffer.from(`text ${queueId}/${offset}`),
          qos: 1,
          retain: false,
          properties: undefined,
        },
        { clientId: 'c1', protocol: 'mqtt' },
      );
      const stored = message.written();
      const at = writer.reserve(queueId, offset, RUN_VALUE_HEADER_BYTES + stored.length);
      writeRunValueHeader(writer.room, at, (100 + offset) as LogIndex);
      writer.room.set(stored, at + RUN_VALUE_HEADER_BYTES);
    }
  }
  await writer.finish();
  runs.close();
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function dumped(
  options: Partial<RunDumpOptions> = {},
): Promise<{ lines: string[]; damaged: boolean }> {
  const lines: string[] = [];
  const damaged = await dumpRun(path, {
    json: false,
    payload: false,
    verify: false,
    from: 0,
    to: Number.MAX_SAFE_INTEGER,
    queue: undefined,
    queueName: (queueId) => (queueId === 3 ? 'orders' : undefined),
    print: (line) => {
      lines.push(line);
      return Promise.resolve();
    },
    progress: () => undefined,
    ...options,
  });
  return { lines, damaged };
}

describe('a run, dumped', () => {
  test('shows header, footer, blocks, queues, offsets and messages', async () => {
    const { lines, damaged } = await dumped();
    const text = lines.join('\n');
    expect(damaged).toBe(false);
    expect(text).toContain('run 7 of log 00000000000000aa, made 2023-11-14T22:13:20.000Z');
    expect(text).toMatch(/\d blocks, 40 values, \d+ B of values; index good/);
    expect(text).toMatch(/block 0: \d+ values, \d+ B, queue 3 offset 10 to queue 3 offset \d+/);
    expect(text).toContain('orders offset 17 from index 117 topic $queue/q3, 9 B');
    expect(text).toContain('#5 offset 29 from index 129');
    expect(text).not.toContain('text 3/17');
    expect(text).toContain('40 values in');
  });

  test('only the queue and the offsets that are asked for, with payloads', async () => {
    const { lines } = await dumped({ queue: 'orders', from: 12, to: 14, payload: true });
    const shown = lines.filter((line) => line.includes(' offset ') && line.includes(' topic '));
    expect(shown).toHaveLength(3);
    expect(lines.join('\n')).toContain('text 3/13');
    const byId = await dumped({ queue: '5', from: 29 });
    expect(byId.lines.filter((line) => line.includes(' topic '))).toHaveLength(1);
  });

  test('--json has one object a line; --verify has neither blocks nor messages', async () => {
    const { lines } = await dumped({ json: true, payload: true });
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const messages = events.filter(({ event }) => event === 'run message');
    expect(messages).toHaveLength(40);
    expect(messages[0]).toMatchObject({ queueId: 3, queue: 'orders', offset: 10, index: 110 });
    const payload = Buffer.from(String(messages[0]?.['payload']), 'base64');
    expect(payload.toString()).toBe('text 3/10');
    const verified = await dumped({ json: true, verify: true });
    const kinds = verified.lines.map((line) => (JSON.parse(line) as { event: string }).event);
    expect(kinds).toEqual(['run', 'run end']);
  });

  test('D4: damage is named with its keys, and the rest is shown', async () => {
    const sound = await readFile(path);
    const broken = Buffer.from(sound);
    broken[400] = (broken[400] as number) ^ 1;
    await writeFile(path, broken);
    try {
      const { lines, damaged } = await dumped();
      expect(damaged).toBe(true);
      expect(lines.join('\n')).toMatch(/DAMAGED: .*7\.run, block 0 .*keys 3\/10 to 3\/\d+/);
      expect(lines.join('\n')).toContain('#5 offset 29');
    } finally {
      await writeFile(path, sound);
    }
  });

  test('a path may be the run or the folder of runs', async () => {
    expect(await dumpPath(path)).toEqual({ log: undefined, runs: [path], shard: 0 });
    expect(await dumpPath(folder)).toEqual({ log: undefined, runs: [path], shard: 0 });
  });

  test('a file that is no run is refused, whatever its name', async () => {
    const other = join(folder, '8.run');
    await writeFile(other, 'x'.repeat(300));
    await expect(
      dumpRun(other, {
        json: false,
        payload: false,
        verify: false,
        from: 0,
        to: 1,
        queue: undefined,
        queueName: () => undefined,
        print: () => Promise.resolve(),
        progress: () => undefined,
      }),
    ).rejects.toThrow('not ours');
    await rm(other);
  });
});
