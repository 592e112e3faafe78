import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { freePort } from '../../jepsen/cluster/free-port.ts';

const ROOT = join(import.meta.dirname, '../..');
const PORTS = 120;

it('gives ports below those that the system may give to a client', async () => {
  const ports = await Promise.all(Array.from({ length: PORTS }, freePort));
  expect(Math.max(...ports)).toBeLessThan(32_768);
});

it('never gives the same port twice, also to two processes at once', async () => {
  const program = `
    const { freePort } = await import('${ROOT}/dist/jepsen/cluster/free-port.js');
    const ports = [];
    for (let i = 0; i < ${PORTS}; i++) ports.push(await freePort());
    console.log(ports.join('\\n'));`;
  const run = promisify(execFile);
  const runs = Array.from({ length: 4 }, () =>
    run(process.execPath, ['--input-type=module', '--eval', program]),
  );
  const ended = await Promise.all(runs);
  const ports = ended.flatMap(({ stdout }) => stdout.trim().split('\n'));
  expect(ports).toHaveLength(4 * PORTS);
  expect(new Set(ports)).toHaveProperty('size', 4 * PORTS);
});

it('gives ports that can be listened on', async () => {
  const server = createServer().listen(await freePort(), '127.0.0.1');
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
});
