/**
 * The load generator as a process of its own: one run described in JSON on standard input, its
 * result in JSON on standard output. It stops by itself: every run has a count, and a deadline of
 * five minutes.
 */

import { text } from 'node:stream/consumers';
import { consumeConfirmed, publishConfirmed } from './amqp.ts';
import { deliver, type DeliveredRun } from './delivered.ts';
import {
  consumeAndAcknowledge,
  publishAcknowledged,
  type ConsumeRun,
  type PublishRun,
  type RunResult,
} from './mqtt.ts';
import { publishToStream } from './nats.ts';
import { harass, type HarassRun } from './harass.ts';
import { route, type RoutedRun } from './routed.ts';
import { sleep, type SleepRun, wake, type WakeRun } from './sleepers.ts';
import { publishSteadily, type SteadyRun } from './steady.ts';
import { storm, type StormRun } from './storm.ts';

export type LoadJob =
  | { readonly kind: 'mqtt-publish'; readonly run: PublishRun }
  | { readonly kind: 'mqtt-consume'; readonly run: ConsumeRun }
  | { readonly kind: 'mqtt-routed'; readonly run: RoutedRun }
  | { readonly kind: 'mqtt-delivered'; readonly run: DeliveredRun }
  | { readonly kind: 'mqtt-harass'; readonly run: HarassRun }
  | { readonly kind: 'mqtt-storm'; readonly run: StormRun }
  | { readonly kind: 'mqtt-sleep'; readonly run: SleepRun }
  | { readonly kind: 'mqtt-wake'; readonly run: WakeRun }
  | { readonly kind: 'mqtt-steady'; readonly run: SteadyRun }
  | { readonly kind: 'nats-publish'; readonly run: PublishRun }
  | { readonly kind: 'amqp-publish'; readonly run: PublishRun }
  | { readonly kind: 'amqp-consume'; readonly run: ConsumeRun };

const DEADLINE_MS = 300_000;

async function work(job: LoadJob): Promise<RunResult> {
  switch (job.kind) {
    case 'mqtt-publish':
      return publishAcknowledged(job.run);
    case 'mqtt-consume':
      return consumeAndAcknowledge(job.run);
    case 'mqtt-routed':
      return route(job.run);
    case 'mqtt-delivered':
      return deliver(job.run);
    case 'mqtt-harass':
      return harass(job.run);
    case 'mqtt-storm':
      return storm(job.run);
    case 'mqtt-sleep':
      return sleep(job.run);
    case 'mqtt-wake':
      return wake(job.run);
    case 'mqtt-steady':
      return publishSteadily(job.run);
    case 'nats-publish':
      return publishToStream(job.run);
    case 'amqp-publish':
      return publishConfirmed(job.run);
    case 'amqp-consume':
      return consumeConfirmed(job.run);
  }
}

setTimeout(() => {
  process.stderr.write('the load run did not end within five minutes\n');
  process.exit(1);
}, DEADLINE_MS).unref();

const job = JSON.parse(await text(process.stdin)) as LoadJob;
const result = await work(job);
// What the generator took of the cores that it shares with the brokers.
const { user, system } = process.cpuUsage();
const cpuSeconds = (user + system) / 1_000_000;
process.stdout.write(`${JSON.stringify({ ...result, cpuSeconds })}\n`);
process.exit(0);
