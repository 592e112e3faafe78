/**
 * D4, D8: what is written into the files of a broker that was killed or stopped. A torn tail is cut
 * off and the broker starts by itself; a flipped bit below what was acknowledged is never taken for
 * a torn write: the start is refused with the place, or, where a checkpoint covers it, the queue
 * delivers the rest and names the offsets that it lost.
 */

import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import { inspectLog, nodeFiles } from '#storage';
import { crc32 } from '../../storage/log/checksum.ts';
import {
  BatchKind,
  type BatchHeader,
  encodeAccepted,
  encodeWritten,
  HEADER_BYTES,
  windowOver,
} from '../../storage/log/batch.ts';
import { logIdHalves } from '../../storage/log/log-id.ts';
import type { FilePosition, SegmentId } from '../../storage/log/positions.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { drain, Ledger, produce } from '../support/ledger.ts';

const DAMAGED_EXIT = 4;
const SECTOR = 512;
const ROUNDS = 4;
const MESSAGES = 400;

let broker: BrokerProcess | undefined;
afterEach(async () => {
  await broker?.remove();
  broker = undefined;
});

function prepare(name: string): Promise<BrokerProcess> {
  return BrokerProcess.prepare(name, { args: ['--set', 'storage.segment_size=1MiB'] });
}

/** Starts, publishes until so many more are acknowledged; the broker goes on running. */
async function fill(current: BrokerProcess, name: string, ledger: Ledger): Promise<void> {
  await current.start();
  let producer: MqttClient | undefined;
  let count = 0;
  await new Promise<void>((resolve) => {
    producer = produce(current.port, name, (sequence) => {
      ledger.acknowledge(name, sequence);
      count += 1;
      if (count === MESSAGES) resolve();
    });
  });
  await producer?.endAsync(true);
}

interface Seen {
  readonly headers: readonly BatchHeader[];
  readonly logId: string;
  /** The mark of a clean stop. */
  readonly clean: boolean;
  readonly path: string;
  readonly dataEnd: number;
}

/** The last segment of the stopped broker's log. */
async function lastSegment(current: BrokerProcess): Promise<Seen> {
  let path = '';
  let logId = '';
  let clean = false;
  let dataEnd = 0;
  let headers: BatchHeader[] = [];
  const directory = join(current.dataDirectory, 'shard-0', 'log');
  const options = { files: nodeFiles(), path: directory, isDirectory: true };
  for await (const event of inspectLog({ ...options, wantsPayload: () => false })) {
    if (event.kind === 'log') {
      logId = event.manifest?.logId ?? '';
      clean = event.manifest?.clean ?? false;
    }
    if (event.kind === 'segment') {
      path = event.path;
      headers = [];
    }
    if (event.kind === 'batch') headers.push({ ...event.header });
    if (event.kind === 'segment end') dataEnd = event.dataEnd;
  }
  return { headers, logId, clean, path, dataEnd };
}

async function overwrite(path: string, bytes: Uint8Array, position: number): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, position);
  await file.close();
}

/** The batch that would come next, with one sector that never reached the disk. */
function tornBatch({ headers, logId, dataEnd }: Seen, seed: number): Uint8Array {
  const last = headers.at(-1);
  if (last === undefined) throw new Error('the segment is empty');
  const payload = Buffer.alloc(3000 + seed * 517, 0x74);
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  payload.copy(bytes, HEADER_BYTES);
  const window = windowOver(bytes);
  encodeAccepted(window, 0, {
    kind: BatchKind.entry,
    payloadLength: payload.length,
    recordCount: 1,
    payloadCrc: crc32(payload),
    index: last.index + 1,
    epoch: last.epoch,
    timestampMs: last.timestampMs,
  });
  encodeWritten(window, 0, {
    logId: logIdHalves(logId),
    segmentId: last.segmentId,
    position: dataEnd,
    chain: last.headerCrc,
    mark: {
      segmentId: last.markSegmentId as SegmentId,
      position: last.markPosition as FilePosition,
    },
    zeroSectors: 0,
  });
  const sectors = Math.floor((dataEnd + bytes.length) / SECTOR) - Math.floor(dataEnd / SECTOR);
  const lost = Math.floor(dataEnd / SECTOR) + (seed % sectors);
  const from = Math.max(0, lost * SECTOR - dataEnd);
  bytes.fill(0, from, Math.min(bytes.length, (lost + 1) * SECTOR - dataEnd));
  return bytes;
}

test(
  'D8: a torn last write is cut off, the broker starts by itself, and nothing acknowledged is missing',
  { timeout: 120_000 },
  async () => {
    broker = await prepare('torn');
    const ledger = new Ledger();
    for (let round = 0; round < ROUNDS; round += 1) {
      await fill(broker, `torn${round}`, ledger);
      await broker.kill();
      const seen = await lastSegment(broker);
      await overwrite(seen.path, tornBatch(seen, round), seen.dataEnd);
    }
    await drain(broker, ledger);
    expect(ledger.missing()).toEqual([]);
  },
);

test(
  'D4: a flipped bit in what was acknowledged refuses the start and names the place; mended, all is there',
  { timeout: 120_000 },
  async () => {
    broker = await prepare('flipped');
    const ledger = new Ledger();
    await fill(broker, 'flip', ledger);
    await broker.kill();
    const { path, headers } = await lastSegment(broker);
    const mark = headers.at(-1)?.markPosition ?? 0;
    expect(mark).toBeGreaterThan(0);
    for (let round = 0; round < ROUNDS; round += 1) {
      const position = Math.floor((mark * (round + 0.5)) / ROUNDS);
      const before = (await readFile(path)).subarray(position, position + 1);
      await overwrite(path, Buffer.from([(before[0] ?? 0) ^ 0x10]), position);
      expect(await broker.startAndEnd(), broker.output).toBe(DAMAGED_EXIT);
      expect(broker.output).toContain('segment');
      expect((await lastSegment(broker)).clean, 'a refused start is no clean stop').toBe(false);
      await overwrite(path, before, position);
    }
    await drain(broker, ledger);
    expect(ledger.missing()).toEqual([]);
  },
);

test(
  'D4: a flipped bit below the checkpoint costs the messages in it, which the queue names, and no other',
  { timeout: 120_000 },
  async () => {
    broker = await prepare('degraded');
    const ledger = new Ledger();
    await fill(broker, 'degraded', ledger);
    expect(await broker.stop()).toBe(0);
    const { path, headers } = await lastSegment(broker);
    const entries = headers.filter((header) => header.payloadLength > 2000);
    const victim = entries[entries.length >> 1];
    if (victim === undefined) throw new Error('no entry with messages');
    const position = victim.position + HEADER_BYTES + victim.payloadLength - 700;
    const before = (await readFile(path)).subarray(position, position + 1);
    await overwrite(path, Buffer.from([(before[0] ?? 0) ^ 0x10]), position);
    await drain(broker, ledger);
    const missing = ledger.missing();
    const named = broker.output
      .split('\n')
      .filter((line) => line.includes('a message cannot be read'));
    expect(missing.length).toBeGreaterThan(0);
    // Named too: what was stored and not yet acknowledged when the producer ended.
    expect(named.length).toBeGreaterThanOrEqual(missing.length);
    expect(named.length, named.join('\n')).toBeLessThanOrEqual(victim.recordCount);
    for (const line of named) expect(JSON.parse(line)).toMatchObject({ queue: 'orders' });
  },
);
