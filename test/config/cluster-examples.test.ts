/** The three files of examples/cluster are one cluster, and each of them a node of its own. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { type Config, parseConfig, writeAddress } from '../../src/config/config.ts';
import { shardSettings } from '../../src/options.ts';

const FOLDER = join(import.meta.dirname, '../../examples/cluster');
let configs: Config[] = [];

beforeAll(async () => {
  configs = await Promise.all(
    [1, 2, 3].map(async (nth) => {
      const name = `node${nth}.yaml`;
      return parseConfig({ file: { name, yaml: await readFile(join(FOLDER, name), 'utf8') } });
    }),
  );
});

it('all of them name the same cluster and the same nodes, each itself among them', () => {
  const ids = configs.map(({ node }) => node.id);
  expect(ids).toEqual(['node-1', 'node-2', 'node-3']);
  for (const { node, cluster } of configs) {
    expect(cluster.id).toBe(configs[0]?.cluster.id);
    expect(cluster.peers).toEqual(configs[0]?.cluster.peers);
    expect(cluster.peers.map(({ id }) => id)).toEqual(ids);
    expect(cluster.peers.find(({ id }) => id === node.id)?.addr).toEqual(cluster.listen);
    expect(cluster.join).toBe(false);
  }
});

it('they fit on one machine: every address is on loopback and is theirs alone', () => {
  const addresses = configs.flatMap(({ server, cluster }) =>
    [server.mqtt.tcp.addr, server.ops.addr, cluster.listen].flatMap((each) => each ?? []),
  );
  expect(addresses).toHaveLength(9);
  expect(new Set(addresses.map(({ host }) => host))).toEqual(new Set(['127.0.0.1']));
  expect(new Set(addresses.map((each) => writeAddress(each))).size).toBe(9);
});

it('each has its data in a folder of its own, which is not part of the repository', () => {
  const directories = configs.map(({ data_dir: directory }) => directory);
  expect(directories).toEqual(['node-1', 'node-2', 'node-3'].map((id) => `data-cluster/${id}`));
});

it('a single broker has no data of another example in its folder, which it would refuse', async () => {
  const examples = join(FOLDER, '..');
  const files = (await readdir(examples, { recursive: true })).filter((name) =>
    name.endsWith('.yaml'),
  );
  const parsed = await Promise.all(
    files.map(async (name) =>
      parseConfig({ file: { name, yaml: await readFile(join(examples, name), 'utf8') } }),
    ),
  );
  const directories = parsed.map(({ data_dir: directory }) => directory);
  const ofOne = parseConfig({}).data_dir;
  expect(directories).toContain(ofOne);
  expect(directories).toContain('data-browser');
  expect(directories.filter((each) => each.startsWith(`${ofOne}/`))).toEqual([]);
});

it('every key of them reaches the shards', () => {
  for (const config of configs) {
    const { node, peers } = shardSettings(config, '/data', false);
    expect(node).toBe(config.node.id);
    expect(peers?.listen).toEqual(config.cluster.listen);
    expect(peers?.nodes.map(({ id }) => id)).toEqual(['node-1', 'node-2', 'node-3']);
  }
});
