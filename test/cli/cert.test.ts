/**
 * `fluxmq cert` makes what TLS of both ends takes, keeps keys to their owner, and replaces nothing.
 */

import { X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identityOf } from '../../src/cluster/node-identity.ts';
import { scratchDirectory } from '../support/broker-process.ts';
import { type Ended, fluxmq } from './run-cli.ts';

const run = promisify(execFile);
let root = '';
let dir = '';

const cert = (...args: readonly string[]): Promise<Ended> => fluxmq(['cert', ...args]);
const inDir = (...args: readonly string[]): Promise<Ended> => cert(...args, '--dir', dir);

async function certificate(name: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(join(dir, `${name}.crt`)));
}

beforeAll(async () => {
  root = await scratchDirectory('cert');
  dir = join(root, 'made', 'certs');
  await inDir('ca');
  await inDir('node', 'node-1');
  await inDir('node', 'node-2', 'example.org', '10.0.0.7', '[fe80::1]', '--cluster', 'demo');
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe('fluxmq cert', () => {
  it('keys are for their owner alone, and so is the folder', async () => {
    const names = (await readdir(dir)).sort();
    const pairs = ['ca', 'node-1', 'node-2'].flatMap((name) => [`${name}.crt`, `${name}.key`]);
    expect(names).toEqual(pairs);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
    for (const name of names) {
      const mode = (await stat(join(dir, name))).mode & 0o777;
      expect(mode & 0o077, name).toBe(name.endsWith('.key') ? 0 : mode & 0o044);
    }
  });

  it('a certificate names node, cluster and addresses, and its authority signed it', async () => {
    const ca = await certificate('ca');
    const [one, two] = [await certificate('node-1'), await certificate('node-2')];
    expect([ca.ca, one.ca]).toEqual([true, false]);
    expect(one.verify(ca.publicKey)).toBe(true);
    expect(identityOf(one.subjectAltName)).toEqual({ cluster: 'fluxmq', node: 'node-1' });
    expect(identityOf(two.subjectAltName)).toEqual({ cluster: 'demo', node: 'node-2' });
    for (const address of ['127.0.0.1', '::1']) expect(one.checkIP(address)).toBe(address);
    expect(two.checkHost('example.org')).toBe('example.org');
    expect([two.checkIP('10.0.0.7'), two.checkIP('fe80::1')]).not.toContain(undefined);
    expect(two.checkHost('localhost')).toBeUndefined();
    expect(one.serialNumber).not.toBe(two.serialNumber);
  });

  it('OpenSSL finds nothing against it by its strict rules (RFC 5280)', async () => {
    const files = ['node-1', 'node-2'].map((name) => join(dir, `${name}.crt`));
    for (const purpose of ['sslserver', 'sslclient']) {
      const rules = ['-x509_strict', '-purpose', purpose, '-CAfile', join(dir, 'ca.crt')];
      const { stdout } = await run('openssl', ['verify', ...rules, ...files]);
      expect(stdout).toBe(files.map((file) => `${file}: OK\n`).join(''));
    }
  });

  it('both ends of a TLS 1.3 connection take it, and one of another authority they do not', async () => {
    const read = (name: string): Promise<Buffer> => readFile(join(dir, name));
    const ca = await read('ca.crt');
    const own = { ca, cert: await read('node-1.crt'), key: await read('node-1.key') };
    const server = createServer({ ...own, requestCert: true, minVersion: 'TLSv1.3' });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const client = connect({ ...own, host: '127.0.0.1', port });
    await once(client, 'secureConnect');
    const [socket] = await accepted;
    expect([client.authorized, socket.authorized]).toEqual([true, true]);
    client.destroy();

    const other = join(root, 'other');
    await cert('ca', '--dir', other);
    await cert('node', 'node-1', '--dir', other);
    const stranger = connect({
      ca,
      cert: await readFile(join(other, 'node-1.crt')),
      key: await readFile(join(other, 'node-1.key')),
      host: '127.0.0.1',
      port,
    });
    const [, refused] = (await once(server, 'tlsClientError')) as [Error, TLSSocket];
    expect(refused.authorized).toBe(false);
    expect(String(refused.authorizationError)).toMatch(/SIGNATURE|ISSUER/);
    stranger.on('error', () => undefined).destroy();
    server.close();
  });

  it('nothing is replaced: neither key nor certificate, of a node or of the authority', async () => {
    const before = await Promise.all(
      (await readdir(dir)).map((name) => readFile(join(dir, name), 'utf8')),
    );
    const again = await Promise.all([inDir('ca'), inDir('node', 'node-1')]);
    for (const { code, stderr } of again) {
      expect(code).toBe(2);
      expect(stderr).toContain('is there already, and is not replaced');
    }
    // Half of a pair is somebody's too, and leaves no other half behind.
    await writeFile(join(dir, 'node-9.crt'), 'mine');
    expect((await inDir('node', 'node-9')).code).toBe(2);
    expect(await readdir(dir)).not.toContain('node-9.key');
    await rm(join(dir, 'node-9.crt'));
    const after = await Promise.all(
      (await readdir(dir)).map((name) => readFile(join(dir, name), 'utf8')),
    );
    expect(after).toEqual(before);
  });

  it('--json tells programs everything but the key itself', async () => {
    const { stdout } = await inDir('node', 'node-3', '--json', '--days', '30');
    const told = JSON.parse(stdout) as Record<string, string>;
    expect(told).toMatchObject({
      certificate: join(dir, 'node-3.crt'),
      key: join(dir, 'node-3.key'),
      cluster: 'fluxmq',
      node: 'node-3',
      authority: false,
      issuer: 'CN=FluxMQ cluster CA',
    });
    const days = (Date.parse(told['not_after'] ?? '') - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(30);
    const key = await readFile(join(dir, 'node-3.key'), 'utf8');
    expect(stdout).not.toContain(key.split('\n')[1]);
    const shown = await cert('show', join(dir, 'node-3.crt'), '--json');
    expect(JSON.parse(shown.stdout)).toMatchObject({ node: 'node-3', sha256: told['sha256'] });
  });

  it('is good no longer than its authority', async () => {
    const short = join(root, 'short');
    await cert('ca', '--dir', short, '--days', '2');
    await cert('node', 'n', '--dir', short, '--days', '900');
    const ends = await Promise.all(
      ['ca', 'n'].map(async (name) => {
        return new X509Certificate(await readFile(join(short, `${name}.crt`))).validTo;
      }),
    );
    expect(ends[1]).toBe(ends[0]);
  });

  it.each([
    [['node', 'a b'], /64 letters, digits/],
    [['node', 'n', '10.0.0.7:7000'], /without a port/],
    [['node', 'n', 'fe80::1%eth0'], /no address/],
    [['node', 'n', '--cluster', 'a/b'], /64 letters, digits/],
    [['node', 'n', '--days', '0'], /from 1 to 36500/],
    [['node', 'ca'], /cannot be called ca/],
    [['ca', '--name', ''], /1 to 64 characters/],
    [['nod', 'n'], /Did you mean node\?/],
  ])('%j is refused in words', async (args, words) => {
    const { code, stderr } = await inDir(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(words);
  });

  it('without its authority a node gets none, and hears how to make one', async () => {
    const { code, stderr } = await cert('node', 'n', '--dir', join(root, 'empty'));
    expect(code).toBe(2);
    expect(stderr).toContain(`fluxmq cert ca --dir ${join(root, 'empty')} makes an authority`);
  });

  it('a certificate that may not sign, or a key of another, is refused', async () => {
    const mixed = join(root, 'mixed');
    await cert('ca', '--dir', mixed);
    await writeFile(join(mixed, 'ca.key'), await readFile(join(dir, 'ca.key')));
    expect((await cert('node', 'n', '--dir', mixed)).stderr).toContain('is not the key of');
    await writeFile(join(mixed, 'ca.crt'), await readFile(join(dir, 'node-1.crt')));
    expect((await cert('node', 'n', '--dir', mixed)).stderr).toContain('may not sign');
  });

  it('signs for an authority that OpenSSL made, under its own name and key id', async () => {
    const foreign = join(root, 'foreign');
    await cert('ca', '--dir', foreign);
    const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    const files = ['-keyout', join(foreign, 'ca.key'), '-out', join(foreign, 'ca.crt')];
    const subject = ['-nodes', '-days', '9', '-subj', '/C=DE/O=Acme, Inc./CN=Root'];
    const usage = ['-addext', 'keyUsage=critical,keyCertSign'];
    await run('openssl', [...args, ...files, ...subject, ...usage]);
    expect((await cert('node', 'n', '--dir', foreign)).code).toBe(0);
    const file = join(foreign, 'n.crt');
    const verifying = ['verify', '-x509_strict', '-CAfile', join(foreign, 'ca.crt'), file];
    expect((await run('openssl', verifying)).stdout).toBe(`${file}: OK\n`);
  });
});
