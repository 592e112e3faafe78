/** What no single key can say: rules between keys. Run when every key by itself is right. */

import { checkCluster } from './cluster-rules.ts';
import type { Config } from './keys.ts';
import { NO_PLACE } from './document.ts';
import type { ConfigErrorCode, ConfigProblem, Tell } from './problem.ts';
import type { Places } from './check.ts';
import { checkQueues } from './queue-rules.ts';
import { isLoopback, writeAddress, writeSize } from './values.ts';

export function brokenRules(config: Config, places: Places): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const tell = (code: ConfigErrorCode, key: string, text: string): void => {
    // The nearest place that is written: the key's own, or that of what holds it.
    let at = key;
    while (!places.has(at) && at.includes('.')) at = at.slice(0, at.lastIndexOf('.'));
    problems.push({ code, place: places.get(at) ?? NO_PLACE, key, text });
  };
  checkListeners(config, tell);
  checkCluster(config, tell);
  checkQueues(config, tell);
  checkShards(config, tell);
  checkStorage(config, tell);
  return problems;
}

function checkListeners(config: Config, tell: Tell): void {
  const { mqtt, ops } = config.server;
  const { listen } = config.cluster;
  if (mqtt.tcp.addr === undefined) {
    tell('conflict', 'server.mqtt.tcp.addr', 'every listener is off: nobody could connect');
  }
  const listeners = [
    ['server.mqtt.tcp.addr', mqtt.tcp.addr],
    ['server.ops.addr', ops.addr],
    ['cluster.listen', listen],
  ] as const;
  const taken = new Map<string, string>();
  for (const [key, address] of listeners) {
    if (address === undefined) continue;
    // Nodes prove who they are: cluster-rules.ts.
    if (address !== listen && !isLoopback(address.host) && !config.allow_anonymous) {
      const text =
        `${writeAddress(address)} can be reached from other machines, and this version knows no ` +
        'users: listen on 127.0.0.1, or say allow_anonymous: true';
      tell('conflict', key, text);
    }
    const other = taken.get(writeAddress(address));
    if (other !== undefined) {
      tell('conflict', key, `${writeAddress(address)} is the address of ${other} too`);
    }
    if (address.port !== 0) taken.set(writeAddress(address), key);
  }
}

function checkShards({ shards }: Config, tell: Tell): void {
  if (shards.max_pending < shards.high_water) {
    const text = `is less than shards.high_water (${writeSize(shards.high_water)})`;
    tell('conflict', 'shards.max_pending', text);
  }
}

function checkStorage({ storage }: Config, tell: Tell): void {
  if (storage.prewrite_size > storage.segment_size) {
    const text = `is more than storage.segment_size (${writeSize(storage.segment_size)})`;
    tell('conflict', 'storage.prewrite_size', text);
  }
  if (storage.window < 2 * storage.segment_size) {
    const text = `is less than two segments (${writeSize(2 * storage.segment_size)})`;
    tell('conflict', 'storage.window', text);
  }
  if (storage.reserve !== undefined && storage.reserve < 2 * storage.segment_size) {
    const text = `is less than two segments (${writeSize(2 * storage.segment_size)})`;
    tell('conflict', 'storage.reserve', text);
  }
}
