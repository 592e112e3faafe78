/**
 * D10 on a real, small file system: an ext4 image that this test makes, mounts and takes away.
 *
 * The disk is filled by publishes until they are refused; then settlements go on, space comes back,
 * and publishes are taken again; also over a restart while it is full. Needs root for the mount; it
 * fails with that word where it is not given.
 */

import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BrokerProcess, scratchDirectory } from '../support/broker-process.ts';
import { QueueUser } from '../support/queue-user.ts';

const run = promisify(execFile);
const DISK_MIB = 160;
const PAYLOAD = 'x'.repeat(16_000);
const IN_FLIGHT = 64;

let directory = '';
let mount = '';
let broker: BrokerProcess;

beforeAll(async () => {
  directory = await scratchDirectory('disk-full');
  mount = join(directory, 'small');
  const image = join(directory, 'disk.img');
  await mkdir(mount);
  await run('truncate', ['-s', `${DISK_MIB}M`, image]);
  await run('mkfs.ext4', ['-q', image]);
  await run('mount', ['-o', 'loop', image, mount]).catch((cause: unknown) => {
    throw new Error('this test mounts a file system of its own: run it as root', { cause });
  });
  const config = join(directory, 'broker.yaml');
  const storage = { segment_size: '4MiB', window: '16MiB' };
  await writeFile(config, JSON.stringify({ storage, log: { level: 'error' } }));
  broker = await BrokerProcess.started('disk-full', {
    dataDirectory: join(mount, 'data'),
    args: ['--config', config],
  });
});

afterAll(async () => {
  await broker.kill();
  await run('umount', [mount]);
  await rm(directory, { recursive: true, force: true });
});

/** Publishes until the broker refuses; the texts that it took. */
async function fill(producer: QueueUser, name: string): Promise<string[]> {
  const taken: string[] = [];
  let refused = false;
  let next = 0;
  const send = async (): Promise<void> => {
    while (!refused) {
      const id = `${name}-${next}`;
      next += 1;
      await producer.publish('$queue/orders', `${id}|${PAYLOAD}`).then(
        () => taken.push(id),
        () => {
          refused = true;
        },
      );
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, send));
  return taken;
}

async function take(count: number): Promise<string[]> {
  const user = await QueueUser.connect(broker.port, `taker-${Math.random()}`);
  await user.consume('$queue/orders');
  const ids = (await user.settleNext(count)).map((text) => text.slice(0, text.indexOf('|')));
  await user.leave();
  return ids;
}

test(
  'D10: a full disk refuses publishes, settlements go on, and all recovers by itself',
  { timeout: 240_000 },
  async () => {
    let producer = await QueueUser.connect(broker.port, 'producer');
    const first = await fill(producer, 'a');
    expect(first.length).toBeGreaterThan(1_000);
    // A restart while it is full: nothing acknowledged is gone.
    await broker.kill();
    await broker.start();
    producer = await QueueUser.connect(broker.port, 'producer');
    const seen = new Set(await take(first.length));
    expect(first.filter((id) => !seen.has(id))).toEqual([]);
    // Space comes back without anybody's help, little by little: for as many messages as before.
    const second: string[] = [];
    while (second.length <= 1_000) {
      await new Promise((resolve) => {
        setTimeout(resolve, 200);
      });
      second.push(...(await fill(producer, `b${second.length}`)));
    }
    await producer.leave();
    expect(await broker.stop()).toBe(0);
    expect((await readdir(join(mount, 'data'))).length).toBeGreaterThan(0);
  },
);
