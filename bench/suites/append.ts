/**
 * The log alone, on the real disk: one durable append against a bare O_DSYNC write of the same
 * bytes, and 256 concurrent appenders on one log against one appender.
 */

import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Log, nodeFiles } from '#storage';
import { scratchDirectory } from '../peers/peer.ts';
import { median, perSecond, type Finding } from '../report.ts';
import { scaled, type Suite } from './suite.ts';

const PAYLOAD_BYTES = 512;
const SECTOR = 512;

async function openLog(directory: string): Promise<Log> {
  const { log } = await Log.open({
    files: nodeFiles(),
    directory: join(directory, 'log'),
    now: Date.now,
    onFailure: (error) => {
      throw error;
    },
  });
  return log;
}

async function removing<T>(name: string, work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await scratchDirectory(name);
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Milliseconds of each of `count` appends, one after the other. */
async function appendLatencies(directory: string, count: number): Promise<number[]> {
  const log = await openLog(directory);
  const payload = [Buffer.alloc(PAYLOAD_BYTES, 0x61)];
  const out: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const from = performance.now();
    await log.appended(log.append({ epoch: 1, timestampMs: 0, recordCount: 1, payload }));
    out.push(performance.now() - from);
  }
  await log.close();
  return out;
}

/** The same with a bare file that was filled with zeros beforehand. */
async function bareLatencies(directory: string, count: number): Promise<number[]> {
  const path = join(directory, 'bare');
  const zeros = await open(path, 'w');
  await zeros.write(Buffer.alloc(count * 2 * SECTOR));
  await zeros.sync();
  await zeros.close();
  const file = await open(path, constants.O_RDWR | constants.O_DSYNC);
  const payload = Buffer.alloc(PAYLOAD_BYTES, 0x61);
  const out: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const from = performance.now();
    await file.write(payload, 0, payload.length, i * PAYLOAD_BYTES);
    out.push(performance.now() - from);
  }
  await file.close();
  return out;
}

/** Durable appends a second with `appenders` of them, each waiting for its own before the next. */
async function appendRate(directory: string, appenders: number, count: number): Promise<number> {
  const log = await openLog(directory);
  const payload = [Buffer.alloc(PAYLOAD_BYTES, 0x61)];
  const batch = { epoch: 1, timestampMs: 0, recordCount: 1, payload };
  const from = performance.now();
  await new Promise<void>((resolve) => {
    let proposed = 0;
    const more = (): void => {
      while (proposed < count && log.last - log.durable < appenders) {
        log.append(batch);
        proposed += 1;
      }
    };
    log.onDurable((durable) => {
      if (durable >= count) resolve();
      else more();
    });
    more();
  });
  const rate = count / ((performance.now() - from) / 1000);
  await log.close();
  return rate;
}

export const appendSuite: Suite = async (options) => {
  const ours: number[] = [];
  const bare: number[] = [];
  const one: number[] = [];
  const many: number[] = [];
  const count = scaled(4000, options);
  for (let round = 0; round < options.rounds; round += 1) {
    ours.push(median(await removing('append', (at) => appendLatencies(at, count))));
    bare.push(median(await removing('bare', (at) => bareLatencies(at, count))));
    one.push(await removing('one', (at) => appendRate(at, 1, count)));
    many.push(await removing('many', (at) => appendRate(at, 256, count * 50)));
    options.progress(
      `append p50 ${ours.at(-1)?.toFixed(3)} ms, bare ${bare.at(-1)?.toFixed(3)} ms; ` +
        `one appender ${perSecond(one.at(-1) ?? 0)}, 256 ${perSecond(many.at(-1) ?? 0)}`,
    );
  }
  const findings: Finding[] = [
    {
      what: 'one durable 512 B append, p50',
      ours: `${median(ours).toFixed(3)} ms`,
      peer: `bare O_DSYNC write ${median(bare).toFixed(3)} ms`,
      ratio: median(ours.map((value, i) => value / (bare[i] ?? 0))),
      target: { at: 'most', ratio: 1.3 },
    },
    {
      what: '256 concurrent appenders, one log',
      ours: perSecond(median(many)),
      peer: `one appender ${perSecond(median(one))}`,
      ratio: median(many.map((value, i) => value / (one[i] ?? 0))),
      target: { at: 'least', ratio: 15 },
    },
  ];
  return findings;
};
