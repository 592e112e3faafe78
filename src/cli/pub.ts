/**
 * `fluxmq pub`: publishes messages, and ends well only when the broker acknowledged all of them.
 */

import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import {
  type ClientFlags,
  addClientOptions,
  collect,
  connectOptions,
  positiveCount,
  priorityLevel,
  readProperties,
  readSpan,
  readTopic,
  sequenceNumber,
} from './client-options.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { MqttClient, type UserProperties } from './mqtt-client.ts';

interface PubFlags extends ClientFlags {
  readonly topic: string;
  readonly message?: string;
  readonly file?: string;
  readonly lines?: boolean;
  readonly count: number;
  readonly retain?: boolean;
  readonly property?: readonly string[];
  readonly ttl?: number;
  readonly delay?: number;
  readonly priority?: number;
  readonly producer?: string;
  readonly sequence?: number;
}

const STANDARD_INPUT = '-';

export function pubCommand(): Command {
  const command = addClientOptions(new Command('pub'))
    .description('Publish messages, and wait until the broker has acknowledged them.')
    .requiredOption('-t, --topic <topic>', "where to, such as '$queue/orders'", readTopic)
    .option('-m, --message <text>', 'the message; an empty text is a message too')
    .option('-f, --file <file>', 'a file as the message (- is standard input)')
    .option('-l, --lines', 'each line of standard input is a message')
    .option('-c, --count <n>', 'publish it so many times', positiveCount, 1)
    .option('-r, --retain', 'keep it for later subscribers')
    .option('-P, --property <name=value>', 'a user property (MQTT 5.0), repeatable', collect)
    .option('--ttl <duration>', 'the message expires after so long', readSpan)
    .option('--delay <duration>', 'a queue delivers it after so long, not before', readSpan)
    .option('--priority <0-9>', 'in a queue with priorities, 9 goes first', priorityLevel)
    .option('--producer <id>', 'number the messages, so that a queue stores each one once')
    .option('--sequence <n>', 'the number of the first message, with --producer', sequenceNumber)
    .option('--json', 'tell the result as JSON');
  return command.action((flags: PubFlags) => publish(flags));
}

async function* messages(flags: PubFlags): AsyncGenerator<Buffer> {
  if (flags.lines === true) {
    for await (const line of createInterface({ input: process.stdin })) yield Buffer.from(line);
    return;
  }
  const payload =
    flags.message === undefined ? await readPayload(flags.file ?? '') : Buffer.from(flags.message);
  for (let i = 0; i < flags.count; i += 1) yield payload;
}

async function readPayload(file: string): Promise<Buffer> {
  try {
    if (file !== STANDARD_INPUT) return await readFile(file);
    const chunks: Buffer[] = [];
    for await (const chunk of createReadStream('', { fd: 0 })) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(ExitCode.usage, `cannot read the message: ${text}`, { cause });
  }
}

function checkFlags(flags: PubFlags): void {
  const named = [flags.message, flags.file, flags.lines].filter((flag) => flag !== undefined);
  if (named.length !== 1) {
    throw new CliError(ExitCode.usage, 'say one of --message, --file and --lines');
  }
  if (flags.mqttVersion !== 5) {
    for (const name of ['property', 'ttl', 'delay', 'priority', 'producer'] as const) {
      if (flags[name] === undefined) continue;
      throw new CliError(ExitCode.usage, `--${name} needs MQTT 5.0 (-V 5)`);
    }
  }
  if ((flags.producer === undefined) !== (flags.sequence === undefined)) {
    throw new CliError(ExitCode.usage, '--producer and --sequence belong together');
  }
  if (flags.ttl !== undefined && flags.ttl % 1000 !== 0) {
    throw new CliError(ExitCode.usage, '--ttl is in whole seconds: MQTT knows no finer ones');
  }
}

/** What the broker reads from user properties, beside those of the user. */
function wishes(flags: PubFlags): UserProperties {
  return {
    ...readProperties(flags.property),
    ...(flags.delay === undefined ? {} : { 'x-delay': String(flags.delay) }),
    ...(flags.priority === undefined ? {} : { 'x-priority': String(flags.priority) }),
    ...(flags.producer === undefined ? {} : { 'producer-id': flags.producer }),
  };
}

/** Those of the message in place `at`. */
function properties(
  flags: PubFlags,
  common: UserProperties,
  at: number,
): UserProperties | undefined {
  if (flags.sequence !== undefined) {
    return { ...common, 'producer-seq': String(flags.sequence + at) };
  }
  // An empty group of user properties is more than mqtt-packet can write.
  return Object.keys(common).length === 0 ? undefined : common;
}

async function publish(flags: PubFlags): Promise<void> {
  checkFlags(flags);
  const common = wishes(flags);
  const expiry = flags.ttl === undefined ? undefined : flags.ttl / 1000;
  const client = await MqttClient.connect(connectOptions(flags));
  const { topic, qos } = flags;
  const retain = flags.retain === true;
  const waiting = new Set<Promise<void>>();
  let failure: Error | undefined;
  let acknowledged = 0;
  let published = 0;
  try {
    for await (const payload of messages(flags)) {
      const userProperties = properties(flags, common, published);
      published += 1;
      const one = client.publish({ topic, payload, qos, retain, userProperties, expiry }).then(
        () => {
          acknowledged += 1;
        },
        (error: unknown) => {
          failure ??= error instanceof Error ? error : new Error(String(error));
        },
      );
      waiting.add(one);
      void one.finally(() => waiting.delete(one));
      if (waiting.size >= 1000) await Promise.race(waiting);
      if (failure !== undefined) break;
    }
    await Promise.all(waiting);
  } finally {
    await client.disconnect();
  }
  tell(flags, acknowledged);
  if (failure !== undefined) throw failure;
}

function tell({ topic, qos, json }: PubFlags, count: number): void {
  const acknowledged = qos > 0;
  const text =
    json === true
      ? JSON.stringify({ topic, qos, published: count, acknowledged })
      : `${count} to ${topic}, ${acknowledged ? 'acknowledged' : 'sent without acknowledgement'}`;
  process.stdout.write(`${text}\n`);
}
