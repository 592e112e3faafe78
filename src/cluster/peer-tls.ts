/**
 * Certificate, key and authorities of this node: read once, and looked at before anything listens,
 * so that what does not fit together is an error at the start and no riddle on the wire.
 */

import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { type NodeIdentity, identityOf, identityUri, sameIdentity } from './node-identity.ts';

/** In PEM. */
export interface PeerTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

export interface PeerTlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Told to people as it is; `key` names the configuration key of the file that is at fault. */
export class PeerTlsError extends Error {
  readonly key: keyof PeerTlsFiles;

  constructor(key: keyof PeerTlsFiles, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PeerTlsError';
    this.key = key;
  }
}

/** Rejects with a `PeerTlsError`. `nowMs` is the wall clock: certificates know no other. */
export async function readPeerTls(
  files: PeerTlsFiles,
  self: NodeIdentity,
  nowMs: number,
): Promise<PeerTls> {
  const [cert, key, ca] = await Promise.all([
    read('cert', files),
    read('key', files),
    read('ca', files),
  ]);
  const certificate = parsed('cert', files, () => new X509Certificate(cert));
  const privateKey = parsed('key', files, () => createPrivateKey(key));
  parsed('ca', files, () => new X509Certificate(ca));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new PeerTlsError('key', `${files.key} is not the key of ${files.cert}`);
  }
  const identity = identityOf(certificate.subjectAltName);
  if (identity === undefined || !sameIdentity(identity, self)) {
    const whose = identity === undefined ? 'no node' : identityUri(identity);
    const text = `${files.cert} names ${whose}, and this node is ${identityUri(self)}`;
    throw new PeerTlsError('cert', `${text}: fluxmq cert node makes one that does`);
  }
  if (Date.parse(certificate.validTo) <= nowMs) {
    throw new PeerTlsError('cert', `${files.cert} was good until ${certificate.validTo}`);
  }
  const tls = { cert, key, ca };
  parsed('cert', files, () => createSecureContext({ ...tls, minVersion: 'TLSv1.3' }));
  return tls;
}

async function read(key: keyof PeerTlsFiles, files: PeerTlsFiles): Promise<Buffer> {
  try {
    return await readFile(files[key]);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PeerTlsError(key, `${files[key]} cannot be read: ${why}`, { cause });
  }
}

function parsed<T>(key: keyof PeerTlsFiles, files: PeerTlsFiles, parse: () => T): T {
  const what = key === 'key' ? 'private key (not encrypted)' : 'certificate';
  try {
    return parse();
  } catch (cause) {
    throw new PeerTlsError(key, `${files[key]} is no ${what} in PEM`, { cause });
  }
}
