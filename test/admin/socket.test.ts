/** The admin socket: who may open it, what it replaces, and what it leaves behind. */

import { chmod, lstat, mkdir, readdir, rm, symlink, watch, writeFile } from 'node:fs/promises';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdminClient } from '../../src/admin/client.ts';
import { AdminSocketError, PATH_BYTES_MAX, PrivateSocket } from '../../src/admin/socket.ts';
import { scratchDirectory } from '../support/broker-process.ts';

let folder = '';
let path = '';
const open: { close(): unknown }[] = [];

beforeEach(async () => {
  folder = await scratchDirectory('sock');
  path = join(folder, 'admin.sock');
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const each of open.splice(0)) await each.close();
  await rm(folder, { recursive: true, force: true });
});

/** Whoever only looks whether somebody is there hangs up without a word. */
function hello(socket: Socket): void {
  socket.on('error', () => undefined).end('hello');
}

async function listen(at = path, ownFolder = true): Promise<PrivateSocket> {
  const socket = await PrivateSocket.listen({ path: at, ownFolder }, 4, hello);
  open.push(socket);
  return socket;
}

const refusal = (at = path): Promise<unknown> => listen(at).catch((error: unknown) => error);

async function heard(at = path): Promise<string> {
  const socket = connect({ path: at }).setEncoding('utf8');
  const [text] = (await once(socket, 'data')) as [string];
  socket.destroy();
  return text;
}

/** What a killed broker leaves: the name of a socket that nobody listens on. */
function leaveStale(at: string): void {
  const script =
    "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 9))";
  spawnSync(process.execPath, ['-e', script, at]);
}

describe('permissions', () => {
  it('only the owner may open it, also in a folder that others can enter', async () => {
    await chmod(folder, 0o755);
    await listen();
    const { mode } = await lstat(path);
    expect(mode & 0o777).toBe(0o600);
    expect(await heard()).toBe('hello');
  });

  it('it has its name only when it has its mode: whoever watches sees no other', async () => {
    await chmod(folder, 0o777);
    const stop = new AbortController();
    const modes = new Set<string>();
    const watching = (async () => {
      for await (const { filename } of watch(folder, { signal: stop.signal })) {
        const seen = await lstat(join(folder, filename ?? '')).catch(() => undefined);
        if (seen === undefined) continue;
        modes.add(`${seen.isSocket() ? 'socket' : 'folder'} ${(seen.mode & 0o777).toString(8)}`);
      }
    })().catch(() => undefined);
    for (let i = 0; i < 50; i += 1) {
      const socket = await PrivateSocket.listen({ path, ownFolder: true }, 1, () => undefined);
      await socket.close();
    }
    stop.abort();
    await watching;
    expect([...modes].filter((mode) => !['socket 600', 'folder 700'].includes(mode))).toEqual([]);
    expect(modes).toContain('socket 600');
  });

  it.runIf(process.getuid?.() === 0)('another user cannot connect', async () => {
    await chmod(folder, 0o755);
    await listen();
    const script =
      "const one = require('net').connect(process.argv[1]);" +
      "one.on('error', (e) => console.log(e.code)).on('connect', () => console.log('open'))";
    const at = { uid: 65_534, gid: 65_534, encoding: 'utf8' } as const;
    const { stdout } = spawnSync(process.execPath, ['-e', script, path], at);
    expect(stdout.trim()).toBe('EACCES');
  });

  it('a socket of another user is not spoken to', async () => {
    await listen();
    vi.spyOn(process, 'getuid').mockReturnValue(12_345);
    await expect(AdminClient.open(path, 1_000)).rejects.toThrow('belongs to another user');
  });
});

describe('what is there already', () => {
  it('the socket of a killed broker is replaced', async () => {
    leaveStale(path);
    expect((await lstat(path)).isSocket()).toBe(true);
    await listen();
    expect(await heard()).toBe('hello');
  });

  it('a socket that somebody answers on is not', async () => {
    const other: Server = createServer(
      (socket) => void socket.on('error', () => undefined).end('other'),
    ).listen(path);
    open.push(other);
    await once(other, 'listening');
    const error = await refusal();
    expect(error).toBeInstanceOf(AdminSocketError);
    expect(String(error)).toContain('another broker answers');
    expect(await heard()).toBe('other');
  });

  it.each([
    ['a file', () => writeFile(path, 'mine')],
    ['a folder', () => mkdir(path)],
    ['a link', () => symlink('/etc/passwd', path)],
  ])('%s is not replaced', async (_what, make) => {
    await make();
    const before = await lstat(path);
    expect(String(await refusal())).toContain('is no socket');
    expect((await lstat(path)).ino).toBe(before.ino);
  });

  it('what a crash between binding and naming left is removed, where the folder is our own', async () => {
    const left = join(folder, '.adm-a1B2c3');
    await mkdir(left);
    leaveStale(join(left, 's'));
    await mkdir(join(folder, '.adm-mine'));
    await listen();
    expect((await readdir(folder)).sort()).toEqual(['.adm-mine', 'admin.sock']);
  });

  it('and not where it is shared', async () => {
    await mkdir(join(folder, '.adm-a1B2c3'));
    await listen(path, false);
    expect((await readdir(folder)).sort()).toEqual(['.adm-a1B2c3', 'admin.sock']);
  });
});

describe('the end', () => {
  it('leaves nothing', async () => {
    const socket = await PrivateSocket.listen({ path, ownFolder: true }, 4, () => undefined);
    await socket.close();
    expect(await readdir(folder)).toEqual([]);
  });

  it('leaves the socket of a successor', async () => {
    const socket = await PrivateSocket.listen({ path, ownFolder: true }, 4, () => undefined);
    await rm(path);
    await listen();
    await socket.close();
    expect(await heard()).toBe('hello');
  });
});

describe('where it cannot be', () => {
  const long = (bytes: number): string =>
    `/tmp/${'ü'.repeat(Math.floor((bytes - 5) / 2))}${bytes % 2 === 0 ? 'x' : ''}`;

  it('a path of more bytes than the system takes is refused with a way out', async () => {
    const error = await refusal(long(PATH_BYTES_MAX + 1));
    expect(error).toBeInstanceOf(AdminSocketError);
    expect(String(error)).toContain(`${PATH_BYTES_MAX + 1} bytes`);
    expect(String(error)).toContain('admin.socket');
    await expect(AdminClient.open(long(PATH_BYTES_MAX + 1), 1_000)).rejects.toThrow('108 bytes');
  });

  it('the longest path works', async () => {
    const room = PATH_BYTES_MAX - '/.adm-123456/s'.length;
    const deep = join(folder, 'x'.repeat(room - Buffer.byteLength(folder) - 1));
    await mkdir(deep);
    await listen(join(deep, 'admin.sock'));
    expect(await heard(join(deep, 'admin.sock'))).toBe('hello');
  });

  it('a folder that is not there is named', async () => {
    const error = await refusal(join(folder, 'none', 'admin.sock'));
    expect(String(error)).toContain(`there is no folder ${join(folder, 'none')}`);
  });
});
