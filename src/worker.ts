/**
 * The thread of the shards: its composition root. Opens everything below the port, serves the port,
 * and ends when it is told to stop.
 *
 * Two ways lead out of it. Batches of bytes go over the ports that came with the worker's data, and
 * over one more for each further shard, which is handed out when there is one. What is rare and
 * about the thread itself (ready, refused, failed, stop, stopped), and what is asked of this node
 * whoever leads, goes over the worker's own channel, as `WorkerSays` and `WorkerHears`.
 * An exception that nobody caught ends the thread, and the main thread takes that for a failed
 * store: everything acknowledged is on the disk.
 */

import { MessageChannel, parentPort, workerData } from 'node:worker_threads';
import { ThreadPulse } from './ops/thread-pulse.ts';
import { OthersAsks } from './others-talk.ts';
import { type ShardHost, openShardHost } from './shard-host.ts';
import { ThreadBatchPort } from './shard/port.ts';
import {
  type WorkerHears,
  type WorkerInput,
  type WorkerSays,
  answerTo,
  errorOf,
  refusalOf,
} from './worker-talk.ts';
import { createLogger } from './telemetry/pino-logger.ts';

async function run(): Promise<void> {
  const control = parentPort;
  if (control === null) throw new Error('this file runs as a worker only');
  const say = (words: WorkerSays): void => control.postMessage(words);
  const openPort = (number: number): ThreadBatchPort => {
    const { port1, port2 } = new MessageChannel();
    control.postMessage({ kind: 'shard', number, port: port2 } satisfies WorkerSays, [port2]);
    return new ThreadBatchPort(port1);
  };
  const others = new OthersAsks((id, shard, ask) => say({ kind: 'ask-others', id, shard, ask }));
  const { settings, port, volatilePort, pulse } = workerData as WorkerInput;
  try {
    const host = await openShardHost({
      settings,
      port: new ThreadBatchPort(port),
      openPort,
      others: (shard) => others.of(shard),
      volatilePort: new ThreadBatchPort(volatilePort),
      logger: createLogger(settings.log),
      pulse: new ThreadPulse(pulse),
      onFailure: (error) => say({ kind: 'failed', message: error.message }),
    });
    control.on('message', (words: WorkerHears) => hear(host, words));
    say({ kind: 'ready' });
  } catch (error) {
    end({ kind: 'refused', refusal: refusalOf(error) });
  }

  function hear(host: ShardHost, words: WorkerHears): void {
    switch (words.kind) {
      case 'ask': {
        const { id } = words;
        answerTo(host, words.ask).then(
          (told) => say({ kind: 'told', id, told }),
          (error: unknown) => say({ kind: 'not-told', id, refusal: refusalOf(error) }),
        );
        return;
      }
      case 'others-told':
        others.told(words.id, words.told);
        return;
      case 'others-failed':
        others.failed(words.id, errorOf(words.refusal));
        return;
      case 'stop':
        host.stop().then(
          () => end({ kind: 'stopped' }),
          (error: unknown) => end({ kind: 'failed', message: String(error) }),
        );
    }
  }

  /** The ports are closed by the main thread, and then nothing keeps this one alive. */
  function end(words: WorkerSays): void {
    say(words);
    control?.close();
  }
}

await run();
