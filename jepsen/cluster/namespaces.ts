/**
 * A network namespace for each node, tied by veth pairs to a bridge of the run:
 *
 *     harness 198.18.S.254 -- bridge fj<pid>b -- fj<pid>v1 ~ eth0 198.18.S.1 (namespace fj<pid>n1)
 *                                            `-- fj<pid>v2 ~ eth0 198.18.S.2 (namespace fj<pid>n2)
 *
 * 198.18.0.0/15 is for tests of networks (RFC 2544), so that no real host has it. A cut is an entry
 * in the sender's neighbour table with a hardware address that nobody has: packets are lost on the
 * wire without a word to either side, in one direction, and connections that stand hear nothing.
 *
 * Whatever a crash leaves behind the guard removes, or else the next run: the names tell the
 * process that made them.
 */

import { runProgram } from './run-program.ts';
import type { Guard } from './guard.ts';
import { startTimeOf } from './process-state.ts';
import type { Address, ClusterNetwork, NodeAddresses } from './network.ts';

const MQTT_PORT = 1883;
const OPS_PORT = 9464;
const PEER_PORT = 7000;
const HARNESS_HOST = 254;
/** Locally administered; no interface of the run has it. */
const NOBODY = '02:00:5e:00:00:fe';
const NAME = /^fj(\d+)[nb]/;

const ip = (...args: string[]): Promise<string> => runProgram('ip', args);

/** Undefined when namespaces can be made here, otherwise why not. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  const name = `fj${process.pid}nprobe`;
  try {
    await ip('netns', 'add', name);
    await ip('netns', 'del', name);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Removes what runs left whose process and guard are gone. */
async function sweepNamespaces(): Promise<void> {
  const names = (await ip('netns', 'list')).split('\n').map((line) => line.split(' ')[0] ?? '');
  const links = JSON.parse(await ip('-j', 'link', 'show', 'type', 'bridge')) as {
    readonly ifname?: string;
  }[];
  const bridges = links.map(({ ifname }) => ifname ?? '');
  for (const [kind, list] of [['netns', names] as const, ['link', bridges] as const]) {
    for (const name of list) {
      const pid = NAME.exec(name)?.[1];
      if (pid === undefined || (await startTimeOf(Number(pid))) !== undefined) continue;
      await ip(kind, 'del', name);
    }
  }
}

async function freeSubnet(): Promise<number> {
  const taken = await ip('-4', 'addr', 'show');
  for (let tried = 0; tried < 256; tried += 1) {
    const subnet = (process.pid + tried) % 256;
    if (!taken.includes(`198.18.${subnet}.`)) return subnet;
  }
  throw new Error('all of 198.18.0.0/16 is taken on this machine');
}

export class Namespaces implements ClusterNetwork {
  readonly about =
    'a network namespace for each node (veth and bridge); cuts lose packets silently';
  readonly canCut = true;
  readonly needsTls = true;
  readonly #nodes: readonly string[];
  readonly #guard: Guard;
  readonly #subnet: number;
  readonly #cuts = new Set<string>();

  private constructor(nodes: readonly string[], guard: Guard, subnet: number) {
    this.#nodes = nodes;
    this.#guard = guard;
    this.#subnet = subnet;
  }

  static async create(nodes: readonly string[], guard: Guard): Promise<Namespaces> {
    await sweepNamespaces();
    const made = new Namespaces(nodes, guard, await freeSubnet());
    try {
      await made.#create();
    } catch (error) {
      await made.close();
      throw error;
    }
    return made;
  }

  addresses(node: string): NodeAddresses {
    const host = this.#host(node);
    return {
      mqtt: { host, port: MQTT_PORT },
      ops: { host, port: OPS_PORT },
      peer: { host, port: PEER_PORT },
    };
  }

  peerAddress(_from: string, to: string): Address {
    return this.addresses(to).peer;
  }

  onNode(node: string): readonly string[] {
    return ['ip', 'netns', 'exec', this.#namespace(node)];
  }

  async cut(from: string, to: string): Promise<void> {
    const key = `${from} ${to}`;
    this.#cuts.add(key);
    const where = ['-n', this.#namespace(from)];
    const entry = [this.#host(to), 'lladdr', NOBODY, 'nud', 'permanent', 'dev', 'eth0'];
    await ip(...where, 'neigh', 'replace', ...entry);
    const shown = await this.#neighbour(from, to);
    if (!shown.includes(NOBODY)) throw new Error(`${from} still reaches ${to}: ${shown}`);
  }

  async heal(): Promise<void> {
    for (const key of this.#cuts) {
      const [from = '', to = ''] = key.split(' ');
      const where = ['-n', this.#namespace(from)];
      await ip(...where, 'neigh', 'del', this.#host(to), 'dev', 'eth0');
      const shown = await this.#neighbour(from, to);
      if (shown.includes(NOBODY)) throw new Error(`${from} is still cut from ${to}: ${shown}`);
      this.#cuts.delete(key);
    }
  }

  /** Removes everything, as far as it was made. */
  async close(): Promise<void> {
    this.#cuts.clear();
    for (const node of this.#nodes) {
      const name = this.#namespace(node);
      await ip('netns', 'del', name).catch(() => undefined);
      this.#guard.gone(`netns ${name}`);
    }
    await ip('link', 'del', this.#bridge).catch(() => undefined);
    this.#guard.gone(`link ${this.#bridge}`);
  }

  get #bridge(): string {
    return `fj${process.pid}b`;
  }

  #number(node: string): number {
    const at = this.#nodes.indexOf(node);
    if (at < 0) throw new Error(`no node ${node}`);
    return at + 1;
  }

  #namespace(node: string): string {
    return `fj${process.pid}n${this.#number(node)}`;
  }

  #host(node: string): string {
    return `198.18.${this.#subnet}.${this.#number(node)}`;
  }

  #neighbour(from: string, to: string): Promise<string> {
    const where = ['-n', this.#namespace(from)];
    return ip(...where, 'neigh', 'show', 'to', this.#host(to), 'dev', 'eth0');
  }

  async #create(): Promise<void> {
    this.#guard.made(`link ${this.#bridge}`);
    await ip('link', 'add', this.#bridge, 'type', 'bridge');
    const own = `198.18.${this.#subnet}.${HARNESS_HOST}/24`;
    await ip('addr', 'add', own, 'dev', this.#bridge);
    await ip('link', 'set', this.#bridge, 'up');
    for (const node of this.#nodes) {
      const name = this.#namespace(node);
      const outer = `fj${process.pid}v${this.#number(node)}`;
      this.#guard.made(`netns ${name}`);
      await ip('netns', 'add', name);
      const inner = ['peer', 'name', 'eth0', 'netns', name];
      await ip('link', 'add', outer, 'type', 'veth', ...inner);
      await ip('link', 'set', outer, 'master', this.#bridge, 'up');
      await ip('-n', name, 'addr', 'add', `${this.#host(node)}/24`, 'dev', 'eth0');
      await ip('-n', name, 'link', 'set', 'eth0', 'up');
      await ip('-n', name, 'link', 'set', 'lo', 'up');
    }
  }
}
