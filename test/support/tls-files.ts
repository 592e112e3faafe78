/**
 * Certificates for tests, made by OpenSSL in a folder: an authority, what it signs, lists of what
 * it revoked, and OCSP responses.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Paths of a certificate and its key. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

const CA_CONFIG = `
[ca]
default_ca = here
[here]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 2
certificate = ca.pem
private_key = ca.key
`;

export class TlsFiles {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** A folder with an authority of this name. */
  static async make(authority = 'Test Authority'): Promise<TlsFiles> {
    const files = new TlsFiles(await mkdtemp(join(tmpdir(), 'fluxmq-tls-')));
    await files.#openssl(
      ['req', '-x509', ...EC_KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '3'],
      ['-subj', `/CN=${authority}`],
    );
    await writeFile(files.path('ca.cnf'), CA_CONFIG);
    await writeFile(files.path('index.txt'), '');
    await writeFile(files.path('crlnumber'), '01\n');
    return files;
  }

  get ca(): string {
    return this.path('ca.pem');
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** `names` as OpenSSL writes subject alternative names. */
  async sign(file: string, subject: string, names = ''): Promise<Pair> {
    const [key, request, cert] = [`${file}.key`, `${file}.csr`, `${file}.pem`];
    await this.#openssl(['req', ...EC_KEY, '-keyout', key, '-out', request, '-subj', subject]);
    await writeFile(this.path(`${file}.ext`), names === '' ? '' : `subjectAltName=${names}\n`);
    await this.#openssl(
      ['x509', '-req', '-in', request, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-days', '2'],
      ['-CAcreateserial', '-out', cert, '-extfile', `${file}.ext`],
    );
    return { cert: this.path(cert), key: this.path(key) };
  }

  /** The list of all that were revoked so far; gives its path. */
  async revoked(file: string, ...certificates: readonly Pair[]): Promise<string> {
    for (const { cert } of certificates) {
      await this.#openssl(['ca', '-config', 'ca.cnf', '-revoke', cert]);
    }
    await this.#openssl(['ca', '-config', 'ca.cnf', '-gencrl', '-out', file]);
    return this.path(file);
  }

  /** What the responder of the authority says of its one certificate; gives its path. */
  async ocspResponse(file: string, { cert }: Pair): Promise<string> {
    const known = await readFile(this.path('index.txt'), 'utf8');
    if (known === '') await this.#openssl(['ca', '-config', 'ca.cnf', '-valid', cert]);
    await this.#openssl(
      ['ocsp', '-index', 'index.txt', '-CA', 'ca.pem', '-rsigner', 'ca.pem', '-rkey', 'ca.key'],
      ['-issuer', 'ca.pem', '-cert', cert, '-respout', file, '-ndays', '1'],
    );
    return this.path(file);
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  async #openssl(...parts: readonly (readonly string[])[]): Promise<void> {
    await execute('openssl', parts.flat(), { cwd: this.directory });
  }
}
