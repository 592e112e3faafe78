import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { freePort } from '../../jepsen/cluster/free-port.ts';

const ROOT = join(import.meta.dirname, '../..');
const PORTS = 120;

it('gives ports below those that the system may give to a client', async () => {
  const ports = await Promise.all(Array.from({ length: PORTS }, freePort));
  expect(Math.max(...ports)).toBeLessThan(32_768);
});

/** A process that takes ports, says them, and lives until its input ends. */
function taker(): { said: Promise<string[]>; end: () => Promise<unknown> } {
  const program = `
    const { freePort } = await import('${ROOT}/dist/jepsen/cluster/free-port.js');
    const ports = [];
    for (let i = 0; i < ${PORTS}; i++) ports.push(await freePort());
    console.log(ports.join(' '));
    process.stdin.resume();`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const line = once(createInterface(child.stdout), 'line');
  return {
    said: line.then(([ports]) => String(ports).split(' ')),
    end: () => {
      child.stdin.end();
      return exited;
    },
  };
}

it('never gives the same port twice, also to processes that live at the same time', async () => {
  const takers = Array.from({ length: 4 }, taker);
  const ports = (await Promise.all(takers.map(({ said }) => said))).flat();
  await Promise.all(takers.map(({ end }) => end()));
  expect(ports).toHaveLength(4 * PORTS);
  expect(new Set(ports)).toHaveProperty('size', 4 * PORTS);
});

it('gives ports that can be listened on', async () => {
  const server = createServer().listen(await freePort(), '127.0.0.1');
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
});
