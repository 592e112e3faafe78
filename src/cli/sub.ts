/**
 * `fluxmq sub`: prints messages as they come. A message is settled when its line was taken by
 * standard output, and not before: a reader that is gone gets it again.
 *
 * `--settle` says what becomes of a message of a queue: `ack` is a PUBACK, `nack` a PUBACK with an
 * error code, `reject` a publish to `$queue/<queue>/$reject` before the PUBACK of a consumer that
 * settles by hand.
 */

import { Command, Option } from 'commander';
import type { IPublishPacket } from 'mqtt-packet';
import {
  type ClientFlags,
  addClientOptions,
  collectTopics,
  connectOptions,
  positiveCount,
} from './client-options.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { MqttClient, type UserProperties } from './mqtt-client.ts';

const SETTLES = ['ack', 'nack', 'reject'] as const;
type Settle = (typeof SETTLES)[number];

interface SubFlags extends ClientFlags {
  readonly topic: readonly string[];
  readonly count?: number;
  readonly verbose?: boolean;
  readonly group?: string;
  readonly from?: string;
  readonly settle: Settle;
}

const UNSPECIFIED_ERROR = 0x80;

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
    .option('-g, --group <name>', 'the consumer group in a queue')
    .option('--from <position>', 'where in a stream: first, last, next, N, timestamp:TIME')
    .addOption(
      new Option('--settle <how>', 'what becomes of the messages of a queue')
        .choices(SETTLES)
        .default('ack'),
    )
    .option('--json', 'print each message as one line of JSON');
  return command.action((flags: SubFlags) => subscribe(flags));
}

function wishes({ mqttVersion, group, from, settle }: SubFlags): UserProperties | undefined {
  const wished: UserProperties = {
    ...(group === undefined ? {} : { 'consumer-group': group }),
    ...(from === undefined ? {} : { 'x-stream-offset': from }),
    ...(settle === 'reject' ? { ack: 'manual' } : {}),
  };
  const any = Object.keys(wished).length > 0 || settle === 'nack';
  if (any && mqttVersion !== 5) {
    const text = '--group, --from and --settle need MQTT 5.0 (-V 5)';
    throw new CliError(ExitCode.usage, text);
  }
  return any ? wished : undefined;
}

/** The reason code of the PUBACK; a rejection is done when it resolves. */
async function settled(
  client: MqttClient,
  message: IPublishPacket,
  settle: Settle,
): Promise<number> {
  const told = message.properties?.userProperties;
  const queue = told?.['queue'];
  if (settle === 'ack' || typeof queue !== 'string') return 0;
  if (settle === 'nack') return UNSPECIFIED_ERROR;
  await client.publish({
    topic: `$queue/${queue}/$reject`,
    payload: Buffer.alloc(0),
    qos: 1,
    retain: false,
    userProperties: {
      'message-id': told?.['message-id'] ?? '',
      'group-id': told?.['group-id'] ?? '',
    },
  });
  return 0;
}

async function subscribe(flags: SubFlags): Promise<void> {
  const userProperties = wishes(flags);
  const client = await MqttClient.connect(connectOptions(flags));
  let received = 0;
  let stop: () => void = () => {};
  const stopped = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
  });
  const receiver = async (message: IPublishPacket): Promise<number> => {
    // Handed out beyond the count: not printed and so not acknowledged.
    if (flags.count !== undefined && received >= flags.count) return new Promise(() => {});
    received += 1;
    const last = received === flags.count;
    await print(format(message, flags));
    const reasonCode = await settled(client, message, flags.settle);
    // After the acknowledgement of this one has been written.
    if (last) setImmediate(stop);
    return reasonCode;
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await client.subscribe({ topics: flags.topic, qos: flags.qos, userProperties }, receiver);
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
