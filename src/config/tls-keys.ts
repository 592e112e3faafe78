/**
 * The configuration keys of `server.tls`: what the listeners with TLS show, and by what they judge
 * the certificates of clients. Part of the one table in `keys.ts`.
 */

import { choice, section, text, texts } from './schema.ts';

const CRL_FILES_MAX = 100;

function pathProblem(path: string): string | undefined {
  return path.includes('\0') ? 'is not a path' : undefined;
}

function fileProblem(path: string): string | undefined {
  return path === '' ? 'is empty: a path belongs here' : pathProblem(path);
}

export const tls = section(
  'Certificates of the listeners with TLS. On SIGHUP all files are read again, and taken as a ' +
    'whole or not at all; connections stay open.',
  {
    cert: text({
      about: 'The certificate of the broker in PEM, followed by what lies below its authority.',
      fallback: '',
      rule: 'a path',
      otherwise: 'none',
      check: pathProblem,
    }),
    key: text({
      about: 'The private key of the certificate, in PEM, not encrypted.',
      fallback: '',
      rule: 'a path',
      otherwise: 'none',
      check: pathProblem,
    }),
    client_ca: text({
      about: 'The authorities that sign for clients, in PEM. No other authority is trusted.',
      fallback: '',
      rule: 'a path',
      otherwise: 'none',
      check: pathProblem,
    }),
    crl: texts({
      about:
        'Lists of revoked certificates, in PEM. With any, there must be one of each authority ' +
        'between a client and its root, and one that is out of date lets nobody in.',
      rule: 'paths',
      otherwise: 'nothing is revoked',
      example: '[]',
      least: 0,
      most: CRL_FILES_MAX,
      check: fileProblem,
    }),
    ocsp_response: text({
      about:
        'A response of the OCSP responder for the certificate, in DER, which clients that ask ' +
        'are given (stapling). Renewing it in time is up to you: write the file, send SIGHUP.',
      fallback: '',
      rule: 'a path',
      otherwise: 'none',
      check: pathProblem,
    }),
    identity: choice({
      about:
        'Which name of a client certificate is its identity: the common name, or the subject ' +
        'alternative name of a kind. A certificate without exactly one is refused.',
      choices: ['cn', 'dns', 'email', 'uri'],
      fallback: 'cn',
    }),
    min_version: choice({
      about: 'The oldest version that is spoken.',
      choices: ['TLSv1.2', 'TLSv1.3'],
      fallback: 'TLSv1.2',
    }),
    ciphers: text({
      about: 'The ciphers that may be used, as OpenSSL names them, the best first.',
      fallback: '',
      rule: 'names with `:` between them',
      otherwise: 'those of Node.js',
      check: (names) =>
        /^[A-Za-z0-9_:!@+=-]*$/.test(names) ? undefined : 'is no list of ciphers of OpenSSL',
    }),
  },
);
