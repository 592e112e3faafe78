/**
 * `fluxmq sub`: prints messages as they come. A message is acknowledged when its line was taken by
 * standard output, and not before: a reader that is gone gets it again.
 */

import { Command } from 'commander';
import type { IPublishPacket } from 'mqtt-packet';
import {
  type ClientFlags,
  addClientOptions,
  collectTopics,
  connectOptions,
  positiveCount,
} from './client-options.ts';
import { MqttClient } from './mqtt-client.ts';

interface SubFlags extends ClientFlags {
  readonly topic: readonly string[];
  readonly count?: number;
  readonly verbose?: boolean;
}

export function subCommand(): Command {
  const command = addClientOptions(new Command('sub'))
    .description('Print messages; those of a queue are settled when they are printed.')
    .requiredOption(
      '-t, --topic <filter>',
      "what, such as '$queue/orders', repeatable",
      collectTopics,
    )
    .option('-c, --count <n>', 'end after so many messages', positiveCount)
    .option('-v, --verbose', 'print the topic in front of each message')
    .option('--json', 'print each message as one line of JSON');
  return command.action((flags: SubFlags) => subscribe(flags));
}

async function subscribe(flags: SubFlags): Promise<void> {
  const client = await MqttClient.connect(connectOptions(flags));
  let received = 0;
  let stop: () => void = () => {};
  const stopped = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
  });
  const receiver = async (message: IPublishPacket): Promise<void> => {
    // Handed out beyond the count: not printed and so not acknowledged.
    if (flags.count !== undefined && received >= flags.count) return new Promise(() => {});
    received += 1;
    await print(format(message, flags));
    // After the acknowledgement of this one has been written.
    if (received === flags.count) setImmediate(stop);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await client.subscribe(flags.topic, flags.qos, receiver);
    const error = await Promise.race([client.ended, stopped]);
    if (error !== undefined) throw error;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await client.disconnect();
  }
}

function print(line: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(line, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(error);
    });
  });
}

function format(message: IPublishPacket, { json, verbose }: SubFlags): Buffer {
  const payload = Buffer.from(message.payload);
  if (json === true) return Buffer.from(`${JSON.stringify(asJson(message, payload))}\n`);
  const head = verbose === true ? Buffer.from(`${message.topic} `) : Buffer.alloc(0);
  return Buffer.concat([head, payload, Buffer.from('\n')]);
}

function asJson(message: IPublishPacket, payload: Buffer): Record<string, unknown> {
  const { topic, qos, retain, dup, properties } = message;
  const text = payload.toString();
  const isText = Buffer.from(text).equals(payload);
  const told: Record<string, unknown> = {
    topic,
    qos,
    retain,
    dup,
    ...(isText ? { payload: text } : { payload_base64: payload.toString('base64') }),
  };
  if (properties !== undefined) {
    told['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value,
      ]),
    );
  }
  return told;
}
