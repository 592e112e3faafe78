/** What no single key can say: rules between keys. Run when every key by itself is right. */

import { checkAccess } from './access-rules.ts';
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
  checkAccess(config, tell);
  checkWebSocket(config, tell);
  checkTls(config, tell);
  checkCluster(config, tell);
  checkQueues(config, tell);
  checkShards(config, tell);
  checkStorage(config, tell);
  return problems;
}

function checkListeners(config: Config, tell: Tell): void {
  const { mqtt, ops } = config.server;
  const { listen } = config.cluster;
  const doors = ['tcp', 'tls', 'ws', 'wss'] as const;
  if (doors.every((door) => mqtt[door].addr === undefined)) {
    tell('conflict', 'server.mqtt.tcp.addr', 'every listener is off: nobody could connect');
  }
  const listeners = [
    ...doors.map((door) => [`server.mqtt.${door}.addr`, mqtt[door].addr] as const),
    ['server.ops.addr', ops.addr] as const,
    ['cluster.listen', listen] as const,
  ];
  // Who comes in there is known: nodes prove who they are (cluster-rules.ts), clients too.
  const known = new Set([listen]);
  for (const { addr, client_certificates: shown } of [mqtt.tls, mqtt.wss]) {
    if (shown === 'required') known.add(addr);
  }
  if (config.access.rules_file !== '') for (const door of doors) known.add(mqtt[door].addr);
  const taken = new Map<string, string>();
  for (const [key, address] of listeners) {
    if (address === undefined) continue;
    if (!known.has(address) && !isLoopback(address.host) && !config.allow_anonymous) {
      const named = key.startsWith('server.mqtt') ? 'name access.rules_file, ' : '';
      const text =
        `${writeAddress(address)} can be reached from other machines, and whoever does is not ` +
        `asked who he is: listen on 127.0.0.1, ${named}or say allow_anonymous: true`;
      tell('conflict', key, text);
    }
    const other = taken.get(writeAddress(address));
    if (other !== undefined) {
      tell('conflict', key, `${writeAddress(address)} is the address of ${other} too`);
    }
    if (address.port !== 0) taken.set(writeAddress(address), key);
  }
}

function checkWebSocket({ server }: Config, tell: Tell): void {
  const { max_packet_size: packetSize } = server.mqtt;
  for (const door of ['ws', 'wss'] as const) {
    const { addr, max_message_size: messageSize } = server.mqtt[door];
    if (addr === undefined || messageSize >= packetSize) continue;
    const text = `is less than server.mqtt.max_packet_size (${writeSize(packetSize)})`;
    tell('conflict', `server.mqtt.${door}.max_message_size`, text);
  }
}

function checkTls({ server }: Config, tell: Tell): void {
  const { mqtt, tls } = server;
  for (const door of ['tls', 'wss'] as const) {
    const { addr, client_certificates: shown } = mqtt[door];
    const key = `server.mqtt.${door}`;
    if (addr !== undefined && (tls.cert === '' || tls.key === '')) {
      const text = 'TLS needs a certificate: name server.tls.cert and server.tls.key';
      tell('conflict', `${key}.addr`, text);
    }
    if (shown !== 'off' && tls.client_ca === '') {
      const text = `${shown} needs an authority to judge by: name server.tls.client_ca`;
      tell('conflict', `${key}.client_certificates`, text);
    }
  }
  if (tls.crl !== undefined && tls.client_ca === '') {
    tell('conflict', 'server.tls.crl', 'is about clients: name server.tls.client_ca too');
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
