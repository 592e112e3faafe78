/** The two faces of a dump: lines for people, and one JSON object a line for programs. */

import type { Inspected } from '#storage';
import type { Command } from '../../machine/command.ts';
import { StoredMessageView } from '../../shard/stored-message.ts';
import type { DumpedCommand } from './decoded-entries.ts';
import { hex, payloadText, printable, time } from './dump-text.ts';
import { type RaftEvent, raftFields, raftText } from './raft-entries.ts';

const KINDS: Readonly<Record<number, string>> = { 1: 'entry', 2: 'mark', 3: 'hard state' };

export type DumpEvent =
  | Inspected
  | { readonly kind: 'command'; readonly dumped: DumpedCommand; readonly queues: readonly string[] }
  | RaftEvent
  | { readonly kind: 'undecodable'; readonly index: number; readonly problem: string };

function headerFields(header: Extract<Inspected, { kind: 'batch' }>['header']): object {
  const { headerCrc, payloadCrc, chain, markSegmentId, markPosition } = header;
  return {
    batch: KINDS[header.kind],
    index: header.index,
    term: header.epoch,
    segment: header.segmentId,
    position: header.position,
    appended: time(header.timestampMs),
    records: header.recordCount,
    payloadBytes: header.payloadLength,
    headerCrc: hex(headerCrc),
    payloadCrc: hex(payloadCrc),
    chain: hex(chain),
    durableMark: { segment: markSegmentId, position: markPosition },
  };
}

function commandFields(command: Command, withPayload: boolean): Record<string, unknown> {
  const { kind: _kind, ...fields } = command;
  if (command.kind !== 'claim-session' || command.will === undefined) return fields;
  const { delaySeconds, message: bytes } = command.will;
  const { topic, payload } = new StoredMessageView(bytes, 0, bytes.length);
  const text = withPayload ? { payload: Buffer.from(payload).toString('base64') } : {};
  const will = { delaySeconds, topic, messageBytes: payload.length, ...text };
  return { ...fields, will };
}

function fieldsText(command: Command, withPayload: boolean): string {
  return printable(JSON.stringify(commandFields(command, withPayload)));
}

function decisionFields(event: Extract<Inspected, { kind: 'decision' }>): object {
  const { cut, faulty, end, segments } = event.decision;
  return {
    lastIndex: end.lastIndex,
    hardState: end.hardState,
    segments: segments.length,
    tornTail: cut ?? null,
    faulty: faulty.map((range) => ({ ...range, through: range.through ?? null })),
  };
}

export function asJson(event: DumpEvent, withPayload: boolean): string {
  const line = (fields: object): string => JSON.stringify({ event: event.kind, ...fields });
  switch (event.kind) {
    case 'log': {
      const { manifest, note } = event;
      return line({ ...manifest, note: note ?? null });
    }
    case 'segment':
      return line({
        path: event.path,
        ...event.segment,
        fileBytes: event.fileBytes,
        index: event.index,
      });
    case 'missing':
      return line({ path: event.path, ...event.segment });
    case 'batch':
      return line(headerFields(event.header));
    case 'bad': {
      const { position, end, fault } = event.stretch;
      return line({ segment: event.segmentId, position, end, fault });
    }
    case 'segment end':
      return line({ segment: event.segmentId, dataEnd: event.dataEnd });
    case 'decision':
      return line(decisionFields(event));
    case 'term begins':
    case 'configuration':
    case 'hard state':
      return line(raftFields(event));
    case 'undecodable':
      return line({ index: event.index, problem: event.problem });
    case 'command': {
      const { command, stampMs, offsets, outcome, message } = event.dumped;
      return line({
        command: command.kind,
        stamp: time(stampMs),
        ...commandFields(command, withPayload),
        queues: event.queues,
        offsets: offsets === undefined ? null : Object.fromEntries(offsets),
        outcome: outcome ?? null,
        topic: message?.topic,
        clientId: message?.clientId,
        messageBytes: message?.payload.length,
        payload: withPayload
          ? message && Buffer.from(message.payload).toString('base64')
          : undefined,
      });
    }
  }
}

function commandText(event: Extract<DumpEvent, { kind: 'command' }>, withPayload: boolean): string {
  const { command, outcome } = event.dumped;
  const queues = event.queues.length === 0 ? '' : ` ${event.queues.map(printable).join(' ')}`;
  const result = outcome === undefined ? '' : `: ${outcome}`;
  switch (command.kind) {
    case 'enqueue':
    case 'transfer':
    case 'take-transfer':
      return `${command.kind} ${placeText(command)}${queues}${messageText(event, withPayload)}`;
    case 'settle':
      return (
        `settle${queues} ${groupText(command)}offset ${command.offset} ${command.outcome}` +
        ` (${command.cause})${result}`
      );
    case 'settle-range':
    case 'move-range': {
      const { kind, from, to } = command;
      const why = kind === 'move-range' ? `to ${command.target}` : `(${command.cause})`;
      return `${kind}${queues} ${groupText(command)}offsets ${from} to ${to} ${why}${result}`;
    }
    case 'declare-queue':
      return `declare-queue ${printable(command.name)} ${JSON.stringify(command.limits)}${result}`;
    case 'open-stream':
    case 'void':
    case 'release':
    case 'update-queue':
    case 'delete-queue':
    case 'set-version':
    case 'create-group':
    case 'delete-group':
    case 'seek-group':
    case 'idle-group':
    case 'retain':
    case 'fire-timers':
    case 'skip-intent':
    case 'route-intent':
    case 'end-route':
    case 'end-session':
    case 'place-queue':
    case 'unplace-queue':
    case 'fence-names':
    case 'add-shard':
    case 'host-shard':
    case 'unhost-shard':
    case 'claim-session':
    case 'change-session':
    case 'replay-session':
    case 'halve-session':
    case 'finish-session':
    case 'leave-session':
    case 'resume-session':
    case 'delete-session':
    case 'receive-session':
    case 'choose-session':
    case 'end-will':
      return `${command.kind} ${fieldsText(command, withPayload)}${result}`;
  }
}

/** Where in its sender's stream, which intent of the outbox, or which one of another shard. */
function placeText(
  command: Extract<Command, { kind: 'enqueue' | 'transfer' | 'take-transfer' }>,
): string {
  if (command.kind === 'transfer') return `intent ${command.intent}`;
  if (command.kind === 'take-transfer') return `shard ${command.from}/${command.number}`;
  return `${printable(command.node)}/${command.boot}/${command.number}`;
}

/** The default group is not worth a word. */
function groupText({ groupId }: { readonly groupId: number }): string {
  return groupId === 0 ? '' : `group ${groupId} `;
}

function messageText(event: Extract<DumpEvent, { kind: 'command' }>, withPayload: boolean): string {
  const { command, offsets, outcome, message } = event.dumped;
  const at = offsets === undefined ? '' : ` at ${[...offsets.values()].join(' ') || 'no queue'}`;
  const result = outcome === undefined ? '' : `: ${outcome}`;
  const topic = message === undefined ? '' : ` topic ${printable(message.topic)}`;
  const size = message === undefined ? '' : `, ${message.payload.length} B`;
  const options = 'options' in command ? command.options : undefined;
  const asked = options === undefined ? '' : ` ${printable(JSON.stringify(options))}`;
  const shown =
    withPayload && message !== undefined ? `\n        ${payloadText(message.payload)}` : '';
  return `${at}${topic}${size}${asked}${result}${shown}`;
}

export function asText(event: DumpEvent, withPayload: boolean): string {
  switch (event.kind) {
    case 'log': {
      const { manifest, note } = event;
      if (manifest === undefined) return `note: ${note ?? ''}`;
      const { term, vote } = manifest.hardState;
      const how = manifest.clean ? 'closed in order' : 'not closed in order';
      return (
        `log ${manifest.logId}: starts at index ${manifest.start}, ` +
        `${manifest.segments.length} segments, ${how}; ` +
        `hard state term ${term}, vote ${printable(vote) || '-'}`
      );
    }
    case 'segment': {
      const { segment, path, fileBytes, index } = event;
      const sealed = segment.length === undefined ? 'open' : `sealed at ${segment.length} B`;
      return (
        `\nsegment ${segment.segmentId} from index ${segment.firstIndex}: ${path}\n` +
        `  ${fileBytes} B, ${sealed}, index file: ${index}`
      );
    }
    case 'missing':
      return `\nsegment ${event.segment.segmentId}: MISSING: ${event.path}`;
    case 'batch': {
      const { header } = event;
      return (
        `  ${String(header.position).padStart(10)}  ${KINDS[header.kind] ?? ''} ` +
        `index ${header.index} term ${header.epoch} ` +
        `${header.recordCount} records ${header.payloadLength} B ` +
        `${time(header.timestampMs)} header ${hex(header.headerCrc)} ` +
        `payload ${hex(header.payloadCrc)} chain ${hex(header.chain)} ` +
        `mark ${header.markSegmentId}/${header.markPosition}`
      );
    }
    case 'bad': {
      const { position, end, fault } = event.stretch;
      return `  ${String(position).padStart(10)}  DAMAGED: ${fault}, up to ${end}`;
    }
    case 'segment end':
      return `  ${String(event.dataEnd).padStart(10)}  end of data`;
    case 'command':
      return `      ${commandText(event, withPayload)}`;
    case 'term begins':
    case 'configuration':
    case 'hard state':
      return `      ${raftText(event)}`;
    case 'undecodable':
      return `      not an entry of a shard: ${event.problem}`;
    case 'decision':
      return decisionText(event);
  }
}

function decisionText({ decision }: Extract<Inspected, { kind: 'decision' }>): string {
  const { cut, faulty, end } = decision;
  const lines = [`\nrecovery would end at index ${end.lastIndex}`];
  if (cut !== undefined) {
    lines.push(
      `  and cut a torn write at byte ${cut.position} of segment ${cut.segmentId}: ${cut.detail}`,
      '  (as an ordinary power cut or kill leaves it: nothing acknowledged lies there, ' +
        'unless somebody cut the file)',
    );
  }
  for (const range of faulty) {
    const through = range.through === undefined ? 'an unknown index' : String(range.through);
    lines.push(`  DAMAGED: indexes ${range.from} to ${through}: ${range.detail}`);
  }
  if (faulty.length === 0) lines.push('  no damage');
  return lines.join('\n');
}
