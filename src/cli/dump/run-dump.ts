/**
 * A run as `segment-dump` shows it: header, footer, index, blocks with their queues and offsets,
 * messages, and damage. A run knows queueIds and no names; the names come from whoever replayed the
 * log beside it. Memory is one block and the sparse index.
 */

import { inspectRun, nodeFiles, StorageError, type InspectedRun, type RunBlock } from '#storage';
import { StoredMessageView } from '../../shard/stored-message.ts';
import { CodecError } from '../../shard/wire.ts';
import { RUN_VALUE_HEADER_BYTES, runValueIndex } from '../../shard/run-values.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { payloadText, printable, time } from './dump-text.ts';

export interface RunDumpOptions {
  readonly json: boolean;
  readonly payload: boolean;
  /** Damage and the end alone. */
  readonly verify: boolean;
  /** Offsets, both included. */
  readonly from: number;
  readonly to: number;
  /** A name or a queueId. */
  readonly queue: string | undefined;
  queueName(queueId: number): string | undefined;
  print(line: string): Promise<void>;
  progress(bytes: number): void;
}

interface ShownMessage {
  readonly queueId: number;
  readonly queue: string | undefined;
  readonly offset: number;
  readonly index: number;
  readonly message: StoredMessageView | undefined;
  readonly bytes: number;
}

/** True: it is damaged. */
export async function dumpRun(path: string, options: RunDumpOptions): Promise<boolean> {
  let isDamaged = false;
  const events = inspectRun({
    files: nodeFiles(),
    path,
    progress: (bytes) => options.progress(bytes),
  });
  try {
    for await (const event of events) {
      isDamaged ||= damages(event);
      if (event.kind === 'block') await block(event.block, event.position, options);
      else await options.print(options.json ? asJson(event) : asText(event));
    }
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'unknown-format') throw error;
    throw new CliError(ExitCode.usage, `${error.message}: not ours`, { cause: error });
  }
  return isDamaged;
}

function damages(event: InspectedRun): boolean {
  if (event.kind === 'damage') return true;
  if (event.kind !== 'run') return false;
  return event.header === undefined || event.footer === undefined || event.index === 'damaged';
}

async function block(found: RunBlock, position: number, options: RunDumpOptions): Promise<void> {
  if (options.verify) return;
  const messages = [...shownIn(found, options)];
  if (messages.length === 0) return;
  const { first, last, values, bytes } = found;
  const fields = { block: found.block, position, bytes: bytes.length, values, first, last };
  await options.print(
    options.json
      ? JSON.stringify({ event: 'run block', ...fields })
      : `  ${String(position).padStart(10)}  block ${found.block}: ${values} values, ` +
          `${bytes.length} B, queue ${first.stream} offset ${first.offset} ` +
          `to queue ${last.stream} offset ${last.offset}`,
  );
  for (const message of messages) {
    await options.print(
      options.json ? messageJson(message, options.payload) : messageText(message, options.payload),
    );
  }
}

function* shownIn(found: RunBlock, options: RunDumpOptions): Generator<ShownMessage> {
  for (const { stream, offset, value, count } of found.stretches()) {
    const queue = options.queueName(stream);
    const isWanted = [undefined, queue, String(stream)].includes(options.queue);
    if (options.queue !== undefined && !isWanted) continue;
    const first = Math.max(offset, options.from);
    const last = Math.min(offset + count - 1, options.to);
    for (let at = first; at <= last; at += 1) {
      const nth = value + at - offset;
      const [start, end] = [found.start(nth), found.end(nth)];
      const message = messageOf(found.bytes, start + RUN_VALUE_HEADER_BYTES, end);
      const index = runValueIndex(found.bytes, start);
      yield { queueId: stream, queue, offset: at, index, message, bytes: end - start };
    }
  }
}

/** Undefined: the checksums hold, and it is no message of ours all the same. */
function messageOf(bytes: Uint8Array, start: number, end: number): StoredMessageView | undefined {
  try {
    return new StoredMessageView(bytes, start, end);
  } catch (error) {
    if (error instanceof CodecError) return undefined;
    throw error;
  }
}

function messageJson(shown: ShownMessage, withPayload: boolean): string {
  const { queueId, queue, offset, index, message } = shown;
  return JSON.stringify({
    event: 'run message',
    queueId,
    queue: queue ?? null,
    offset,
    index,
    topic: message?.topic ?? null,
    clientId: message?.origin.clientId,
    published: message && time(message.publishedAtMs),
    messageBytes: message?.payload.length,
    payload: withPayload ? message && Buffer.from(message.payload).toString('base64') : undefined,
  });
}

function messageText(shown: ShownMessage, withPayload: boolean): string {
  const { queueId, queue, offset, index, message } = shown;
  const name = queue === undefined ? `#${queueId}` : printable(queue);
  const place = `      ${name} offset ${offset} from index ${index}`;
  if (message === undefined) return `${place}: not a message of a shard, ${shown.bytes} B`;
  const payload = withPayload ? `\n        ${payloadText(message.payload)}` : '';
  return `${place} topic ${printable(message.topic)}, ${message.payload.length} B${payload}`;
}

function asJson(event: Exclude<InspectedRun, { kind: 'block' }>): string {
  switch (event.kind) {
    case 'run': {
      const { path, fileBytes, header, footer, index } = event;
      return JSON.stringify({
        event: 'run',
        path,
        fileBytes,
        header: header ?? 'damaged',
        footer: footer ?? 'damaged',
        index,
      });
    }
    case 'damage':
      return JSON.stringify({ event: 'run damage', ...event.damage });
    case 'run end':
      return JSON.stringify({ event: 'run end', blocks: event.blocks, values: event.values });
  }
}

function asText(event: Exclude<InspectedRun, { kind: 'block' }>): string {
  switch (event.kind) {
    case 'run': {
      const { path, fileBytes, header, footer, index } = event;
      const made =
        header === undefined
          ? 'header DAMAGED'
          : `run ${header.runId} of log ${header.owner}, made ${time(header.createdMs)}`;
      const said =
        footer === undefined
          ? 'footer DAMAGED or cut off'
          : `${footer.blocks} blocks, ${footer.values} values, ${footer.valueBytes} B of values`;
      const indexed = index === 'good' ? 'index good' : 'index DAMAGED, made again from the blocks';
      return `\n${path}: ${fileBytes} B\n  ${made}\n  ${said}; ${indexed}`;
    }
    case 'damage':
      return `  ${String(event.damage.position).padStart(10)}  DAMAGED: ${event.damage.detail}`;
    case 'run end':
      return `  ${event.values} values in ${event.blocks} blocks can be read`;
  }
}
