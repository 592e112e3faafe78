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
  readProperties,
  readTopic,
} from './client-options.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { MqttClient } from './mqtt-client.ts';

interface PubFlags extends ClientFlags {
  readonly topic: string;
  readonly message?: string;
  readonly file?: string;
  readonly lines?: boolean;
  readonly count: number;
  readonly retain?: boolean;
  readonly property?: readonly string[];
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
  if (flags.property !== undefined && flags.mqttVersion !== 5) {
    throw new CliError(ExitCode.usage, 'user properties need MQTT 5.0 (-V 5)');
  }
}

async function publish(flags: PubFlags): Promise<void> {
  checkFlags(flags);
  const userProperties = readProperties(flags.property);
  const client = await MqttClient.connect(connectOptions(flags));
  const { topic, qos } = flags;
  const retain = flags.retain === true;
  const waiting = new Set<Promise<void>>();
  let failure: Error | undefined;
  let acknowledged = 0;
  try {
    for await (const payload of messages(flags)) {
      const one = client.publish({ topic, payload, qos, retain, userProperties }).then(
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
