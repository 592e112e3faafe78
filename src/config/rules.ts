/** What no single key can say: rules between keys. Run when every key by itself is right. */

import type { Config } from './keys.ts';
import { NO_PLACE } from './document.ts';
import type { ConfigErrorCode, ConfigProblem } from './problem.ts';
import type { Places } from './check.ts';
import { CATCH_ALL_QUEUE } from './queue-names.ts';
import { isLoopback, quote, writeAddress, writeDuration, writeSize } from './values.ts';

export function brokenRules(config: Config, places: Places): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const tell = (code: ConfigErrorCode, key: string, text: string): void => {
    // The nearest place that is written: the key's own, or that of what holds it.
    let at = key;
    while (!places.has(at) && at.includes('.')) at = at.slice(0, at.lastIndexOf('.'));
    problems.push({ code, place: places.get(at) ?? NO_PLACE, key, text });
  };
  checkListeners(config, tell);
  checkQueues(config, tell);
  checkStorage(config, tell);
  return problems;
}

type Tell = (code: ConfigErrorCode, key: string, text: string) => void;

function checkListeners(config: Config, tell: Tell): void {
  const key = 'server.mqtt.tcp.addr';
  const address = config.server.mqtt.tcp.addr;
  if (address === undefined) {
    tell('conflict', key, 'every listener is off: nobody could connect');
  } else if (!isLoopback(address.host) && !config.allow_anonymous) {
    const text =
      `${writeAddress(address)} can be reached from other machines, and this version knows no ` +
      'users: listen on 127.0.0.1, or say allow_anonymous: true';
    tell('conflict', key, text);
  }
}

function checkQueues(config: Config, tell: Tell): void {
  const names = new Map<string, number>();
  for (const [index, queue] of config.queues.entries()) {
    const first = names.get(queue.name);
    const key = `queues[${index}]`;
    if (first !== undefined) {
      tell('conflict', `${key}.name`, `${quote(queue.name)} is declared twice (queues[${first}])`);
    }
    names.set(queue.name, index);
    if (queue.retry.max < queue.retry.min) {
      const [low, high] = [writeDuration(queue.retry.min), writeDuration(queue.retry.max)];
      tell('conflict', `${key}.retry.max`, `${high} is shorter than retry.min (${low})`);
    }
    if (queue.name === CATCH_ALL_QUEUE && queue.topics !== undefined) {
      const text = `the queue ${CATCH_ALL_QUEUE} takes what no other queue has: it names no topics`;
      tell('conflict', `${key}.topics`, text);
    }
  }
}

function checkStorage({ storage }: Config, tell: Tell): void {
  if (storage.prewrite_size > storage.segment_size) {
    const text = `is more than storage.segment_size (${writeSize(storage.segment_size)})`;
    tell('conflict', 'storage.prewrite_size', text);
  }
  if (storage.reserve !== undefined && storage.reserve < 2 * storage.segment_size) {
    const text = `is less than two segments (${writeSize(2 * storage.segment_size)})`;
    tell('conflict', 'storage.reserve', text);
  }
}
