/**
 * `fluxmq queue peek`: looks at messages without consuming them. A payload that is text is printed
 * as such; everything else in base64, so that nothing of it reaches the terminal as it is.
 */

import { Command, Option } from 'commander';
import type { AdminClient } from '../../admin/client.ts';
import type { MessageProperties } from '../../broker/message.ts';
import type { Offset, PeekedMessage } from '../../broker/ports.ts';
import { positiveCount, wholeNumber } from '../client-options.ts';
import { cutTo, visible } from '../text/columns.ts';
import { bytes, time } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { print, terminalWidth } from './screen.ts';
import { jsonLine } from './told.ts';

interface PeekFlags extends BrokerFlags {
  readonly from?: number;
  readonly last?: boolean;
  readonly count: number;
  readonly full?: boolean;
}

const COUNT = 10;
/** What a person sees of a payload without `--full`. */
const SHOWN_CHARACTERS = 2_048;

export function peekCommand(): Command {
  return addBrokerOptions(new Command('peek'))
    .description('Look at messages without consuming them.')
    .argument('<queue>', 'its name')
    .addOption(
      new Option('-f, --from <offset>', 'from this offset on; without it from the first one')
        .argParser(wholeNumber(0, Number.MAX_SAFE_INTEGER))
        .conflicts('last'),
    )
    .option('-l, --last', 'the newest ones')
    .option('-n, --count <n>', 'at most so many', positiveCount, COUNT)
    .option('--full', 'payloads in full')
    .action((name: string, flags: PeekFlags) =>
      withBroker(flags, (client) => peek(client, name, flags)),
    );
}

async function peek(client: AdminClient, name: string, flags: PeekFlags): Promise<void> {
  const { start, next } = await client.show(name);
  const first = flags.last === true ? Math.max(start, next - flags.count) : (flags.from ?? start);
  let at: number = first;
  let left = flags.count;
  while (left > 0) {
    const page = await client.peek(name, at as Offset, left);
    const last = page.at(-1);
    if (last === undefined) break;
    for (const message of page) {
      await print(
        flags.json === true ? [jsonLine(fieldsOf(message))] : linesOf(message, flags.full === true),
      );
    }
    left -= page.length;
    at = last.offset + 1;
  }
  if (left === flags.count && flags.json !== true) {
    await print([first < next ? `no message is left from offset ${first} on` : 'no messages']);
  }
}

/** Undefined when it is no text, or one that would act on a terminal. */
function textOf(payload: Uint8Array): string | undefined {
  const text = Buffer.from(payload).toString();
  if (!Buffer.from(text).equals(payload)) return undefined;
  return visible(text.replaceAll(/[\n\t]/g, ' ')).length === text.length ? text : undefined;
}

function linesOf(
  { offset, origin, publishedAtMs, message }: PeekedMessage,
  full: boolean,
): string[] {
  const { topic, payload, qos, retain, properties } = message;
  const text = textOf(payload);
  const head = [
    `offset ${offset}`,
    time(publishedAtMs),
    visible(topic),
    `qos ${qos}${retain ? ', retained' : ''}`,
    bytes(payload.length),
    `from ${visible(origin.clientId)}`,
    ...(origin.user === undefined ? [] : [`of ${visible(origin.user)}`]),
  ].join('  ');
  const told = Object.entries(propertyFields(properties)).flatMap(([name, value]) =>
    name === 'user_properties'
      ? (value as [string, string][]).map(([key, each]) => `  ${visible(key)} = ${visible(each)}`)
      : [`  ${name}: ${visible(String(value))}`],
  );
  const width = terminalWidth();
  const body = shown(text ?? Buffer.from(payload).toString('base64'), full);
  return [
    width === undefined ? head : cutTo(head, width),
    ...told,
    ...(text === undefined ? ['  payload in base64:'] : []),
    ...body.map((line) => `  ${line}`),
  ];
}

function shown(body: string, full: boolean): string[] {
  if (body === '') return ['(empty)'];
  if (full || body.length <= SHOWN_CHARACTERS) return body.split('\n');
  const left = body.length - SHOWN_CHARACTERS;
  // Not in the middle of a character.
  const cut = body.slice(0, SHOWN_CHARACTERS).replace(/\p{Surrogate}$/u, '');
  return [...cut.split('\n'), `... ${left} more characters: --full shows them`];
}

function fieldsOf({ offset, origin, publishedAtMs, message }: PeekedMessage): object {
  const { topic, payload, qos, retain, properties } = message;
  const text = Buffer.from(payload).toString();
  const isText = Buffer.from(text).equals(payload);
  return {
    offset,
    published_at_ms: publishedAtMs,
    client_id: origin.clientId,
    ...(origin.user !== undefined && { user: origin.user }),
    protocol: origin.protocol,
    topic,
    qos,
    retain,
    ...(isText ? { payload: text } : { payload_base64: base64(payload) }),
    properties: propertyFields(properties),
  };
}

function base64(value: Uint8Array): string {
  return Buffer.from(value).toString('base64');
}

/** Those that the publisher set, by the names of proto/admin.proto. */
function propertyFields(properties: MessageProperties | undefined): Record<string, unknown> {
  if (properties === undefined) return {};
  const { correlationId } = properties;
  const all = {
    content_type: properties.contentType,
    correlation_id_base64: correlationId === undefined ? undefined : base64(correlationId),
    reply_to: properties.replyTo,
    message_id: properties.messageId,
    user_properties: properties.userProperties,
    expiry_seconds: properties.expirySeconds,
    priority: properties.priority,
    timestamp_ms: properties.timestampMs,
    payload_is_text: properties.payloadIsText,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
