/**
 * What is promised of queues over MQTT, word for word as for a single broker, of three nodes: the
 * clients are at one that does not lead, a kill is one of all three, and so is a stop.
 */

import { afterAll, describe, vi } from 'vitest';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { type QueueBroker, queueBrokers } from '../support/queue-user.ts';

// Three processes start, and all of them again: on a busy machine that takes a while.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const alone = queueBrokers.with;

queueBrokers.with = async (name, queues, more): Promise<QueueBroker> => {
  const cluster = await BrokerCluster.started(name, { queues, ...more });
  const [, follower] = await cluster.leaderFirst();
  const all = async <T>(act: (broker: (typeof cluster.brokers)[number]) => Promise<T>) =>
    (await Promise.all(cluster.brokers.map(act)))[0] as T;
  return {
    port: follower.port,
    dataDirectory: follower.dataDirectory,
    start: () => all((broker) => broker.start()),
    kill: () => all((broker) => broker.kill()),
    stop: () => all((broker) => broker.stop()),
    remove: () => cluster.remove(),
  };
};

afterAll(() => {
  queueBrokers.with = alone;
});

describe('settlement', () => import('./settlement.test.ts').then(() => undefined));
describe('dead letters', () => import('./dead-letters.test.ts').then(() => undefined));
describe('queues', () => import('./mqtt-queues.test.ts').then(() => undefined));
describe('limits', () => import('./limits.test.ts').then(() => undefined));
describe('sessions', () => import('./sessions.test.ts').then(() => undefined));
describe('wills', () => import('./wills.test.ts').then(() => undefined));
describe('groups', () => import('./groups-and-streams.test.ts').then(() => undefined));
