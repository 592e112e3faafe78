/** Options that `pub` and `sub` share, and their readers. */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { readDuration } from '../config/values.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import type { ConnectOptions, MqttVersion, Qos, UserProperties } from './mqtt-client.ts';

export interface ClientFlags {
  readonly host: string;
  readonly port: number;
  readonly mqttVersion: MqttVersion;
  readonly id?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly timeout: number;
  readonly keepAlive: number;
  readonly qos: Qos;
  readonly json?: boolean;
}

const TOPIC_BYTES_MAX = 65_535;

export function wholeNumber(min: number, max: number): (written: string) => number {
  return (written) => {
    const value = /^\d{1,16}$/.test(written) ? Number(written) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Write a whole number from ${min} to ${max}.`);
  };
}

export const positiveCount = wholeNumber(1, 1_000_000_000);
export const sequenceNumber = wholeNumber(0, 9_999_999_999);
export const priorityLevel = wholeNumber(0, 9);

/** Milliseconds from 1; written with a unit. */
export function readSpan(written: string): number {
  const read = readDuration(written);
  if ('value' in read && read.value > 0) return read.value;
  throw new InvalidArgumentError("Write a duration, such as '10s'.");
}

function readVersion(written: string): MqttVersion {
  if (written === '4' || written === '3.1.1') return 4;
  if (written === '5' || written === '5.0') return 5;
  throw new InvalidArgumentError('Write 4 (MQTT 3.1.1) or 5 (MQTT 5.0).');
}

export function readTimeout(written: string): number {
  const read = readDuration(written);
  if ('value' in read && read.value > 0 && read.value < 2 ** 31) return read.value;
  throw new InvalidArgumentError("Write a duration, such as '10s'.");
}

/** A topic that fits its length field; whether it is allowed is for the broker to say. */
export function readTopic(written: string): string {
  const bytes = Buffer.byteLength(written);
  if (bytes >= 1 && bytes <= TOPIC_BYTES_MAX) return written;
  throw new InvalidArgumentError(`A topic has 1 to ${TOPIC_BYTES_MAX} bytes.`);
}

export function collect(written: string, before: readonly string[] = []): readonly string[] {
  return [...before, written];
}

export function collectTopics(written: string, before: readonly string[] = []): readonly string[] {
  return [...before, readTopic(written)];
}

export function readProperties(pairs: readonly string[] | undefined): UserProperties | undefined {
  if (pairs === undefined) return undefined;
  const values = new Map<string, string[]>();
  for (const pair of pairs) {
    const cut = pair.indexOf('=');
    if (cut < 1) {
      throw new CliError(ExitCode.usage, `write a property as NAME=VALUE, not '${pair}'`);
    }
    const name = pair.slice(0, cut);
    values.set(name, [...(values.get(name) ?? []), pair.slice(cut + 1)]);
  }
  return Object.fromEntries(values);
}

export function addClientOptions(command: Command): Command {
  const qos = new Option('-q, --qos <level>', 'quality of service')
    .argParser((written) => wholeNumber(0, 2)(written))
    .default(1);
  const timeout = new Option('--timeout <duration>', 'how long to wait for each answer')
    .argParser(readTimeout)
    .default(30_000, '30s');
  return command
    .option('-h, --host <host>', 'where the broker is', '127.0.0.1')
    .option('-p, --port <port>', 'its port', wholeNumber(1, 65_535), 1883)
    .option('-V, --mqtt-version <version>', '4 (MQTT 3.1.1) or 5 (MQTT 5.0)', readVersion, 5)
    .option('-i, --id <client-id>', 'client id (a random one otherwise)')
    .option('-u, --user <name>', 'user name; its password is in FLUXMQ_PASSWORD, or in a file')
    .option('--password-file <file>', 'the first line of it is the password')
    .addOption(timeout)
    .option(
      '-k, --keep-alive <seconds>',
      'seconds between signs of life',
      wholeNumber(0, 65_535),
      60,
    )
    .addOption(qos)
    .helpOption('--help', 'show this help');
}

/** Never from an argument: everybody on the machine sees those. */
function passwordOf({ user, passwordFile }: ClientFlags): string | undefined {
  if (user === undefined) {
    if (passwordFile === undefined) return undefined;
    throw new CliError(ExitCode.usage, '--password-file needs --user');
  }
  if (passwordFile === undefined) return process.env['FLUXMQ_PASSWORD'];
  try {
    return readFileSync(passwordFile, 'utf8').split(/\r?\n/, 1)[0];
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(ExitCode.usage, `cannot read the password: ${text}`, { cause });
  }
}

export function connectOptions(flags: ClientFlags): ConnectOptions {
  return {
    host: flags.host,
    port: flags.port,
    version: flags.mqttVersion,
    user: flags.user,
    password: passwordOf(flags),
    clientId: flags.id ?? `fluxmq-${randomBytes(6).toString('hex')}`,
    keepAliveSeconds: flags.keepAlive,
    timeoutMs: flags.timeout,
  };
}
