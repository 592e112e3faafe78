/**
 * What `fluxmq segment-dump` does: tells what is in a segment, a run, a log or a data directory,
 * without a running broker and without changing a byte. Exit status 1 where it found damage; a torn
 * tail is none.
 *
 * It reads a piece at a time, whatever the size of the log, and waits for a slow reader of its
 * output.
 */

import { once } from 'node:events';
import { inspectLog, nodeFiles, StorageError, type Inspected } from '#storage';
import type { LogIndex, QueueId } from '../../machine/ids.ts';
import { CodecError } from '../../shard/wire.ts';
import { EntryDecoder, type DumpedCommand } from './decoded-entries.ts';
import { dumpPath, type DumpPath } from './dump-path.ts';
import { asJson, asText, type DumpEvent } from './dump-writer.ts';
import { hasCommands, raftEvent } from './raft-entries.ts';
import { dumpRun, type RunDumpOptions } from './run-dump.ts';
import { CliError, ExitCode } from '../exit-codes.ts';

const DAMAGE_FOUND = 1;
const PROGRESS_BYTES = 256 * 2 ** 20;

export interface DumpFlags {
  readonly json?: boolean;
  readonly payload?: boolean;
  readonly from?: number;
  readonly to?: number;
  readonly queue?: string;
  readonly verify?: boolean;
}

export class Dump {
  readonly #flags: DumpFlags;
  #decoder = new EntryDecoder(undefined);
  #shard = 0;
  #damaged = false;
  #bytes = 0;
  #told = 0;

  constructor(flags: DumpFlags) {
    this.#flags = flags;
  }

  async run(given: string): Promise<void> {
    const { log, runs, shard } = await dumpPath(given);
    this.#shard = shard;
    if (log !== undefined) await this.#log(log);
    for (const path of runs) {
      this.#damaged = (await dumpRun(path, this.#runOptions())) || this.#damaged;
    }
    if (this.#damaged) process.exitCode = DAMAGE_FOUND;
  }

  async #log({ path, isDirectory }: NonNullable<DumpPath['log']>): Promise<void> {
    const decodes = this.#flags.verify !== true;
    const events = inspectLog({
      files: nodeFiles(),
      path,
      isDirectory,
      wantsPayload: (header) =>
        decodes && (isReplayed(header, this.#decoder) || this.#inRange(header.index)),
      progress: (bytes) => this.#progress(bytes),
    });
    try {
      for await (const event of events) await this.#take(event);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'unknown-format') throw error;
      throw new CliError(ExitCode.usage, `${error.message}: not ours`, { cause: error });
    }
  }

  #runOptions(): RunDumpOptions {
    const { json = false, payload = false, verify = false, queue } = this.#flags;
    const { from = 0, to = Number.MAX_SAFE_INTEGER } = this.#flags;
    return {
      json,
      payload,
      verify,
      from,
      to,
      queue,
      queueName: (queueId) => this.#decoder.queueName(queueId as QueueId),
      print: (line) => this.#line(line),
      progress: (bytes) => this.#progress(bytes),
    };
  }

  async #take(event: Inspected): Promise<void> {
    switch (event.kind) {
      case 'log':
        this.#decoder = new EntryDecoder(event.manifest?.start === 1 ? this.#shard : undefined);
        await this.#print(event);
        break;
      case 'missing':
      case 'bad':
        this.#decoder.interrupt();
        await this.#print(event);
        break;
      case 'batch':
        await this.#batch(event);
        break;
      case 'segment':
      case 'segment end':
        if (this.#flags.verify !== true) await this.#print(event);
        break;
      case 'decision':
        this.#damaged ||= event.decision.faulty.length > 0;
        await this.#print(event);
        break;
    }
  }

  async #batch(event: Extract<Inspected, { kind: 'batch' }>): Promise<void> {
    if (this.#flags.verify === true) return;
    const { header, payload } = event;
    const shows = this.#inRange(header.index);
    if (!hasCommands(header) || payload === undefined) {
      if (!shows || this.#flags.queue !== undefined) return;
      await this.#print(event);
      const told = payload === undefined ? undefined : raftEvent(header, payload);
      if (told !== undefined) await this.#print(told);
      return;
    }
    let commands: DumpedCommand[];
    try {
      commands = this.#decoder.decode(header.index as LogIndex, payload);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.#decoder.interrupt();
      await this.#print(event);
      await this.#print({ kind: 'undecodable', index: header.index, problem: error.message });
      return;
    }
    if (!shows) return;
    const shown = commands
      .map((dumped) => ({ dumped, ids: queueIds(dumped) }))
      .filter(({ dumped, ids }) => this.#isWanted(dumped, ids));
    if (this.#flags.queue !== undefined && shown.length === 0) return;
    await this.#print(event);
    for (const { dumped, ids } of shown) {
      const queues = ids.map((id) => this.#decoder.queueName(id) ?? `#${id}`);
      await this.#print({ kind: 'command', dumped, queues });
    }
  }

  #isWanted({ command }: DumpedCommand, ids: readonly QueueId[]): boolean {
    const { queue } = this.#flags;
    if (queue === undefined) return true;
    if (command.kind === 'declare-queue') return command.name === queue;
    return ids.some((id) => this.#decoder.queueName(id) === queue || String(id) === queue);
  }

  #inRange(index: number): boolean {
    const { from = 0, to = Number.MAX_SAFE_INTEGER } = this.#flags;
    return index >= from && index <= to;
  }

  async #print(event: DumpEvent): Promise<void> {
    const { json, payload = false } = this.#flags;
    await this.#line(json === true ? asJson(event, payload) : asText(event, payload));
  }

  async #line(text: string): Promise<void> {
    if (!process.stdout.write(`${text}\n`)) await once(process.stdout, 'drain');
  }

  /** On a large log, for a person only. */
  #progress(bytes: number): void {
    this.#bytes += bytes;
    if (!process.stderr.isTTY || this.#bytes - this.#told < PROGRESS_BYTES) return;
    this.#told = this.#bytes;
    process.stderr.write(`... ${Math.round(this.#bytes / 2 ** 20)} MiB read\n`);
  }
}

/** A replay needs every entry with commands, also those that are not shown. */
function isReplayed(header: Parameters<typeof hasCommands>[0], { replays }: EntryDecoder): boolean {
  return replays && hasCommands(header);
}

function queueIds({ command }: DumpedCommand): readonly QueueId[] {
  if ('targets' in command) return command.targets;
  return 'queueId' in command ? [command.queueId] : [];
}
