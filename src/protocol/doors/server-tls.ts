/**
 * Certificate, key, authorities and revocations that the doors with TLS show and judge by. Read and
 * looked at as a whole, so that what does not fit together is an error with the name of its file;
 * read again when asked, and then taken as a whole or not at all.
 *
 * Connections that are open keep what they began with. A new reading also ends the resumption of
 * sessions from before it: who was revoked is looked at again.
 */

import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type SecureContextOptions, createSecureContext } from 'node:tls';
import type { Logger } from '../../telemetry/logger.ts';
import type { IdentityField } from './certified-identity.ts';

export interface ServerTlsSettings {
  /** Paths of files in PEM. */
  readonly cert: string;
  readonly key: string;
  /** Undefined: clients are not asked for certificates. */
  readonly clientCa: string | undefined;
  readonly crl: readonly string[];
  /** A response in DER; undefined: none is stapled. */
  readonly ocspResponse: string | undefined;
  readonly identity: IdentityField;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Undefined: the default of Node.js. */
  readonly ciphers: string | undefined;
}

/** What a TLS server is made of. */
export interface TlsMaterial {
  readonly context: SecureContextOptions;
  readonly ocspResponse: Buffer | undefined;
}

type FileKey = 'cert' | 'key' | 'client_ca' | 'crl' | 'ocsp_response' | 'ciphers';

/** Told to people as it is; `key` names the configuration key below `server.tls`. */
export class ServerTlsError extends Error {
  readonly key: string;

  constructor(key: FileKey, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'ServerTlsError';
    this.key = `server.tls.${key}`;
  }
}

/** The wall clock: certificates know no other. */
export type WallClock = () => number;

export class ServerTls {
  readonly identity: IdentityField;
  readonly #settings: ServerTlsSettings;
  readonly #log: Logger;
  readonly #wallMs: WallClock;
  readonly #listeners: ((material: TlsMaterial) => void)[] = [];
  #material: TlsMaterial;
  #reading: Promise<unknown> = Promise.resolve();

  private constructor(
    settings: ServerTlsSettings,
    material: TlsMaterial,
    { log, wallMs }: { readonly log: Logger; readonly wallMs: WallClock },
  ) {
    this.identity = settings.identity;
    this.#settings = settings;
    this.#material = material;
    this.#log = log;
    this.#wallMs = wallMs;
  }

  /** Rejects with a `ServerTlsError`. */
  static async read(
    settings: ServerTlsSettings,
    log: Logger,
    wallMs: WallClock = Date.now,
  ): Promise<ServerTls> {
    return new ServerTls(settings, await readMaterial(settings, wallMs()), { log, wallMs });
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  /** Hears of each new material. */
  onChange(listener: (material: TlsMaterial) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Reads all files again, after readings that are under way. False, and told in the log: they do
   * not do, and the old ones stay.
   */
  reload(): Promise<boolean> {
    const reading = this.#reading.then(() => this.#reload());
    this.#reading = reading;
    return reading;
  }

  async #reload(): Promise<boolean> {
    let material: TlsMaterial;
    try {
      material = await readMaterial(this.#settings, this.#wallMs());
    } catch (error) {
      if (!(error instanceof ServerTlsError)) throw error;
      const text = `the TLS files were not taken, the old ones stay: ${error.message}`;
      this.#log.error({ setting: error.key }, text);
      return false;
    }
    this.#material = material;
    for (const listener of this.#listeners) listener(material);
    this.#log.info({ cert: this.#settings.cert }, 'the TLS files were read again');
    return true;
  }
}

async function readMaterial(settings: ServerTlsSettings, nowMs: number): Promise<TlsMaterial> {
  const { minVersion, ciphers, clientCa, ocspResponse: ocspFile } = settings;
  const [cert, key, ca, crls, ocspResponse] = await Promise.all([
    read('cert', settings.cert),
    read('key', settings.key),
    clientCa === undefined ? undefined : read('client_ca', clientCa),
    Promise.all(settings.crl.map((file) => read('crl', file))),
    ocspFile === undefined ? undefined : read('ocsp_response', ocspFile),
  ]);
  checkPair(settings, { cert, key }, nowMs);
  if (ca !== undefined && clientCa !== undefined) certificateOf('client_ca', clientCa, ca);
  if (ocspResponse !== undefined && !isGoodResponse(ocspResponse)) {
    throw new ServerTlsError('ocsp_response', `${ocspFile} is no good OCSP response in DER`);
  }
  const crl = crls.flatMap((pem, index) => revocationsOf(settings.crl[index] ?? '', pem));
  const plain = { cert, key, minVersion, honorCipherOrder: true };
  const context = {
    ...plain,
    ...(ca !== undefined && { ca }),
    ...(crl.length > 0 && { crl }),
    ...(ciphers !== undefined && { ciphers }),
  };
  // In the order in which one thing after the other can be at fault.
  parsed('cert', `${settings.cert} cannot be used`, () => createSecureContext(plain));
  parsed('ciphers', 'OpenSSL knows none of the ciphers', () =>
    createSecureContext({ minVersion, ...(ciphers !== undefined && { ciphers }) }),
  );
  parsed('crl', 'the revocations cannot be used', () => createSecureContext(context));
  return { context, ocspResponse };
}

function checkPair(
  files: ServerTlsSettings,
  pair: { readonly cert: Buffer; readonly key: Buffer },
  nowMs: number,
): void {
  const certificate = certificateOf('cert', files.cert, pair.cert);
  const what = `${files.key} is no private key (not encrypted) in PEM`;
  const key = parsed('key', what, () => createPrivateKey(pair.key));
  if (!certificate.checkPrivateKey(key)) {
    throw new ServerTlsError('key', `${files.key} is not the key of ${files.cert}`);
  }
  if (Date.parse(certificate.validTo) <= nowMs) {
    throw new ServerTlsError('cert', `${files.cert} was good until ${certificate.validTo}`);
  }
}

function certificateOf(key: FileKey, file: string, pem: Buffer): X509Certificate {
  return parsed(key, `${file} is no certificate in PEM`, () => new X509Certificate(pem));
}

/** OpenSSL takes one at a time, and the rest of a file in silence not. */
function revocationsOf(file: string, pem: Buffer): string[] {
  const blocks = pem
    .toString('latin1')
    .match(/-----BEGIN X509 CRL-----[^]*?-----END X509 CRL-----/g);
  if (blocks === null) throw new ServerTlsError('crl', `${file} has no X509 CRL in PEM`);
  for (const crl of blocks) {
    parsed('crl', `${file} is no X509 CRL in PEM`, () => createSecureContext({ crl }));
  }
  return blocks;
}

/** RFC 6960 4.2.1: a sequence whose first element is the status, 0 where there is an answer. */
function isGoodResponse(der: Buffer): boolean {
  const lengthBytes = (der[1] ?? 0) < 0x80 ? 0 : (der[1] ?? 0) & 0x7f;
  const at = 2 + lengthBytes;
  return der[0] === 0x30 && der.subarray(at, at + 3).equals(Buffer.from([0x0a, 1, 0]));
}

async function read(key: FileKey, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ServerTlsError(key, `${file} cannot be read: ${why}`, { cause });
  }
}

function parsed<T>(key: FileKey, otherwise: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new ServerTlsError(key, otherwise, { cause });
  }
}
