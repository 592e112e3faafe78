/** The command line of the harness: what it takes, and what is wrong with it. */

import { parseArgs } from 'node:util';
import type { NetworkChoice } from './cluster/cluster.ts';
import { OPERATIONS_MAX } from './history/read.ts';
import { FAULT_KINDS, NoSuchFault, cardsOf } from './nemesis/kinds.ts';

export const WORKLOADS = {
  queue: 'enqueue, dequeue, ack and reject at QoS 1; two groups; dead letters; a full drain',
} as const;
const NODES = [1, 3, 5] as const;
const NETWORKS: readonly NetworkChoice[] = ['auto', 'namespaces', 'proxy'];
const MINUTES_MAX = 24 * 60;
const RATE_MAX = 100_000;
const SEED_MAX = 2 ** 32 - 1;
/**
 * Two of its publisher, and four in each of two groups; half of one for its share of the dead
 * letters; some more for redeliveries.
 */
const OPERATIONS_PER_MESSAGE = 11.5;
const DEFAULT_RATE = 150;
const DEFAULT_MINUTES = 3;
const DEFAULT_NODES = 3;
const SHARDS_MAX = 16;

export const USAGE = `npm run jepsen -- [options]
  --workload NAME   what the clients do (default queue)
  --nodes 1|3|5     brokers (default 3)
  --nemesis KINDS   faults, separated by commas; kill:leader is one choice alone; none is
                    possible (default kill,pause,partition; with one node kill,pause)
  --shards N        shards of the brokers, each with queues of its own (default one a node)
  --minutes M       time under load and faults (default 3); heal and drain come on top
  --rate N          messages a second, of all publishers together (default 150)
  --network KIND    auto, namespaces or proxy (default auto)
  --seed N          which faults are dealt in which order (default: a new one, told in the end)
  --check DIR       run the checkers and the report again over a stored run
  --list            what there is
`;

export class Misuse extends Error {}

export interface RunOptions {
  readonly workload: keyof typeof WORKLOADS;
  readonly nodes: number;
  /** Undefined: what the brokers make of a configuration that does not say it. */
  readonly shards?: number;
  readonly nemeses: readonly string[];
  readonly minutes: number;
  readonly rate: number;
  readonly network: NetworkChoice;
  readonly seed: number;
}

export type Request =
  | { readonly kind: 'list' }
  | { readonly kind: 'check'; readonly directory: string }
  | { readonly kind: 'run'; readonly options: RunOptions };

interface Range {
  readonly name: string;
  readonly low: number;
  readonly high: number;
  readonly whole: boolean;
}

function numberOf(text: string, { name, low, high, whole }: Range): number {
  const value = Number(text);
  const fits = text.trim() !== '' && value >= low && value <= high;
  if (fits && (!whole || Number.isSafeInteger(value))) return value;
  const kind = whole ? 'whole number' : 'number';
  throw new Misuse(`--${name} is a ${kind} from ${low} to ${high}, not '${text}'`);
}

function nemesesOf(text: string, nodes: number): string[] {
  if (text === 'none') return [];
  const names = [...new Set(text.split(','))];
  try {
    // Whether the network can be cut is known when it is made.
    for (const name of names) cardsOf(name, nodes, true);
  } catch (error) {
    if (error instanceof NoSuchFault) throw new Misuse(`--nemesis: ${error.message}`);
    throw error;
  }
  return names;
}

const TEXT = { type: 'string' } as const;
const OPTIONS = {
  workload: TEXT,
  nodes: TEXT,
  shards: TEXT,
  nemesis: TEXT,
  minutes: TEXT,
  rate: TEXT,
  network: TEXT,
  seed: TEXT,
  check: TEXT,
  list: { type: 'boolean' },
} as const;

type Values = Partial<Record<Exclude<keyof typeof OPTIONS, 'list'>, string>> & {
  readonly list?: boolean;
};

function valuesOf(args: readonly string[]): Values {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (error) {
    throw new Misuse(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function workloadOf(text = 'queue'): keyof typeof WORKLOADS {
  if (Object.hasOwn(WORKLOADS, text)) return text as keyof typeof WORKLOADS;
  throw new Misuse(`no workload '${text}': there are ${Object.keys(WORKLOADS).join(', ')}`);
}

function refuseTooLong({ minutes, rate }: RunOptions): void {
  const perRate = minutes * 60 * OPERATIONS_PER_MESSAGE;
  if (perRate * rate <= OPERATIONS_MAX) return;
  const most = Math.floor(OPERATIONS_MAX / perRate);
  const words = 'the history would be too long to judge';
  throw new Misuse(`${words}: with --minutes ${minutes}, --rate ${most} is the most`);
}

export function requestOf(args: readonly string[]): Request {
  const values = valuesOf(args);
  if (values.list === true) return { kind: 'list' };
  if (values.check !== undefined) return { kind: 'check', directory: values.check };
  const nodes = Number(values.nodes ?? DEFAULT_NODES);
  if (!NODES.some((number) => number === nodes)) {
    throw new Misuse(`--nodes is ${NODES.join(', ')}, not '${values.nodes}'`);
  }
  const network = NETWORKS.find((name) => name === (values.network ?? 'auto'));
  if (network === undefined) {
    throw new Misuse(`--network is ${NETWORKS.join(', ')}, not '${values.network}'`);
  }
  const nemeses = values.nemesis ?? (nodes === 1 ? 'kill,pause' : 'kill,pause,partition');
  const number = (text: string | undefined, fallback: number, range: Range): number =>
    text === undefined ? fallback : numberOf(text, range);
  const fresh = Math.floor(Math.random() * SEED_MAX);
  const minutes = { name: 'minutes', low: 0.05, high: MINUTES_MAX, whole: false };
  const rate = { name: 'rate', low: 1, high: RATE_MAX, whole: true };
  const seed = { name: 'seed', low: 0, high: SEED_MAX, whole: true };
  const shards = { name: 'shards', low: 1, high: nodes === 1 ? 1 : SHARDS_MAX, whole: true };
  const options: RunOptions = {
    workload: workloadOf(values.workload),
    nodes,
    ...(values.shards !== undefined && { shards: numberOf(values.shards, shards) }),
    nemeses: nemesesOf(nemeses, nodes),
    minutes: number(values.minutes, DEFAULT_MINUTES, minutes),
    rate: number(values.rate, DEFAULT_RATE, rate),
    network,
    seed: number(values.seed, fresh, seed),
  };
  refuseTooLong(options);
  return { kind: 'run', options };
}

export function listText(): string {
  const rows = (list: readonly (readonly string[])[]): string[] =>
    list.map(([name = '', about = '']) => `  ${name.padEnd(12)}${about}`);
  return [
    'Workloads:',
    ...rows(Object.entries(WORKLOADS)),
    'Nemeses, with their choices:',
    ...rows(
      FAULT_KINDS.map(({ name, about, choices }) => [name, `${about} (${choices.join(', ')})`]),
    ),
    'Nodes: 1, 3, 5',
    '',
  ].join('\n');
}
