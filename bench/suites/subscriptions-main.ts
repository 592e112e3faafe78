/**
 * A million subscriptions in the router, in a process of its own that can collect its garbage when
 * it is told to: `node --expose-gc subscriptions-main.js COUNT`. Prints what they cost and how long
 * a match takes, in JSON.
 *
 * Nine tenths are exact filters, `site/<s>/device/<d>/<kind>`; a tenth have wildcards, `+` or `#`
 * over the same names, so that a part of the topics matches these as well. Each subscriber has a
 * hundred. What is measured is all that stays in the router, and the filters themselves, which it
 * shares with the sessions.
 */

import { Router } from '../../src/broker/router.ts';
import type { QueueDirectory, Subscriber } from '../../src/broker/ports.ts';
import { quantile } from '../report.ts';

export interface Subscribed {
  readonly count: number;
  readonly bytes: number;
  /** The longest of a thousand subscriptions one after the other. */
  readonly longestAddMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly matches: number;
}

const OF_ONE = 100;
const SITES = 100;
const KINDS = ['temperature', 'pressure', 'humidity', 'state', 'battery'] as const;
const TOPICS = 200_000;
const ADDS = 1000;

declare const gc: (() => void) | undefined;

const NOBODY: Subscriber = { deliver: () => undefined, backlog: () => 0 };
const NO_QUEUES: QueueDirectory = {
  patterned: [],
  named: () => undefined,
  patternedNamed: () => undefined,
  takeChanged: () => [],
  count: 0,
  sessionCount: 0,
  internalCount: 0,
  get: () => undefined,
  [Symbol.iterator]: () => [].values(),
};
const OPTIONS = { qos: 1, noLocal: false, retainAsPublished: false, identifier: 0 } as const;

function topicOf(nth: number): string {
  const device = Math.floor(nth / KINDS.length);
  return `site/${device % SITES}/device/${device}/${KINDS[nth % KINDS.length] ?? ''}`;
}

/** As one that came over the wire: no part of another string. */
function filterOf(nth: number): string {
  const topic = topicOf(nth);
  if (nth % 10 !== 0) return Buffer.from(topic).toString('latin1');
  const levels = topic.split('/');
  if (nth % 20 === 0) levels[4] = '#';
  else levels[1] = '+';
  return Buffer.from(levels.join('/')).toString('latin1');
}

function aliveBytes(): number {
  gc?.();
  gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function matched(router: Router, count: number): { us: number[]; matches: number } {
  const us: number[] = [];
  let matches = 0;
  for (let i = 0; i < TOPICS; i += 1) {
    // All different, so that no route is kept from before; spread over all of them.
    const topic = topicOf((i * 7919) % count);
    const from = performance.now();
    const route = router.route(topic);
    us.push((performance.now() - from) * 1000);
    matches += route?.targets.length ?? 0;
  }
  return { us, matches };
}

const count = Number(process.argv[2]);
const bounds = { maxTopicLevels: 128, maxTopicLength: 65_535, maxRoutes: 1000 };
const router = new Router(NO_QUEUES, bounds, () => false);
const filters: string[] = [];
const subscribers = Array.from({ length: Math.ceil(count / OF_ONE) }, () => ({ ...NOBODY }));
matched(router, count);
const before = aliveBytes();
let longestAddMs = 0;
for (let from = 0; from < count; from += ADDS) {
  const began = performance.now();
  for (let nth = from; nth < Math.min(count, from + ADDS); nth += 1) {
    const subscriber = subscribers[nth % subscribers.length] ?? NOBODY;
    const filter = filterOf(nth);
    filters.push(filter);
    router.subscribe(subscriber, filter, { ...OPTIONS });
  }
  longestAddMs = Math.max(longestAddMs, performance.now() - began);
}
const bytes = aliveBytes() - before;
matched(router, count);
const { us, matches } = matched(router, count);
const subscribed: Subscribed = {
  count: Math.min(router.subscriptions, filters.length),
  bytes: bytes / count,
  longestAddMs,
  p50Us: quantile(us, 0.5),
  p99Us: quantile(us, 0.99),
  matches: matches / us.length,
};
process.stdout.write(JSON.stringify(subscribed));
