/**
 * `fluxmq cert`: a certificate authority and certificates for the nodes of a cluster, for tests and
 * for those who have no authority of their own. Needs no other program, and asks no broker.
 *
 * Nothing that is there is replaced, and no private key is ever printed.
 */

import { type X509Certificate, generateKeyPairSync } from 'node:crypto';
import { isIP } from 'node:net';
import { Command, InvalidArgumentError } from 'commander';
import { identityOf, identityUri } from '../cluster/node-identity.ts';
import { clusterIdProblem, nodeIdProblem } from '../config/node-names.ts';
import { type Issuer, type Validity, makeCa, makeNodeCertificate } from './cert/certificate.ts';
import { type KeyPair, pathsOf, readCertificate, readKey, writePair } from './cert/key-files.ts';
import { wholeNumber } from './client-options.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { print } from './operator/screen.ts';
import { jsonLine } from './operator/told.ts';
import { visible } from './text/columns.ts';

const DAY_MS = 86_400_000;
/** Against clocks that differ. */
const EARLIER_MS = 3_600_000;
const CA_DAYS = 3650;
const NODE_DAYS = 825;
const DAYS_MAX = 36_500;
const CA = 'ca';
const CURVE = 'P-256';
/** RFC 5280 A.1, ub-common-name. */
const NAME_LENGTH_MAX = 64;
const HOSTS_MAX = 64;
const HERE = ['localhost', '127.0.0.1', '::1'];

interface Flags {
  readonly dir: string;
  readonly days: number;
  readonly json?: boolean;
}

export function certCommand(): Command {
  return new Command('cert')
    .description('Make certificates for the traffic between nodes.')
    .addCommand(caCommand())
    .addCommand(nodeCommand())
    .addCommand(showCommand());
}

function withFlags(command: Command, days: number): Command {
  return command
    .option('-d, --dir <folder>', 'where the files are', 'certs')
    .option('--days <number>', 'how long it is good', wholeNumber(1, DAYS_MAX), days)
    .option('--json', 'for programs: one JSON object');
}

function caCommand(): Command {
  return withFlags(new Command(CA), CA_DAYS)
    .description('Make a certificate authority: ca.crt, and ca.key, which signs for it.')
    .option('--name <text>', 'its name', readName, 'FluxMQ cluster CA')
    .action((flags: Flags & { readonly name: string }) => makeAuthority(flags));
}

function nodeCommand(): Command {
  return withFlags(new Command('node'), NODE_DAYS)
    .description('Make a certificate and a key for a node, signed by ca.key of the same folder.')
    .argument('<id>', 'node.id of its configuration', readNodeId)
    .argument('[hosts...]', `its addresses (${HERE.join(', ')})`, readHosts)
    .option('--cluster <id>', 'cluster.id of its configuration', readClusterId, 'fluxmq')
    .action((id: string, hosts: readonly string[], flags: Flags & { readonly cluster: string }) =>
      makeForNode(id, hosts.length === 0 ? HERE : hosts, flags),
    );
}

function showCommand(): Command {
  return new Command('show')
    .description('Tell which node a certificate is for, who made it, and how long it is good.')
    .argument('<file>', 'a certificate in PEM')
    .option('--json', 'for programs: one JSON object')
    .action(async (file: string, { json }: Pick<Flags, 'json'>) =>
      tell(await readCertificate(file), { certificate: file }, json),
    );
}

async function makeAuthority({ dir, days, name, json }: Flags & { name: string }): Promise<void> {
  const keys = newKeys();
  const certificate = makeCa({ name, ...keys, validity: validFor(days) });
  const paths = await writePair(dir, CA, { certificate, key: pemOf(keys.privateKey) });
  await tell(await readCertificate(paths.certificate), paths, json);
}

async function makeForNode(
  id: string,
  hosts: readonly string[],
  { dir, days, cluster, json }: Flags & { cluster: string },
): Promise<void> {
  if (id === CA) {
    throw new CliError(ExitCode.usage, `a node cannot be called ${CA}: its files would be those`);
  }
  const issuer = await issuerIn(dir);
  const { publicKey, privateKey } = newKeys();
  const certificate = makeNodeCertificate(
    {
      name: id,
      uri: identityUri({ cluster, node: id }),
      hosts,
      publicKey,
      validity: validWithin(days, issuer.certificate),
    },
    issuer,
  );
  const paths = await writePair(dir, id, { certificate, key: pemOf(privateKey) });
  await tell(await readCertificate(paths.certificate), paths, json);
}

type Keys = ReturnType<typeof newKeys>;

const newKeys = () => generateKeyPairSync('ec', { namedCurve: CURVE });

function pemOf(key: Keys['privateKey']): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

function validFor(days: number): Validity {
  const now = Date.now();
  return { from: new Date(now - EARLIER_MS), until: new Date(now + days * DAY_MS) };
}

/** No longer than the one who signs it: a chain is good as long as all of it is. */
function validWithin(days: number, issuer: X509Certificate): Validity {
  const wanted = validFor(days);
  const end = Date.parse(issuer.validTo);
  return end < wanted.until.getTime() ? { ...wanted, until: new Date(end) } : wanted;
}

async function issuerIn(dir: string): Promise<Issuer> {
  const paths = pathsOf(dir, CA);
  const refuse = (why: string): CliError => new CliError(ExitCode.usage, why);
  const certificate = await readCertificate(paths.certificate).catch((cause: unknown) => {
    const hint = `fluxmq cert ca --dir ${dir} makes an authority`;
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(ExitCode.usage, `${text}; ${hint}`, { cause });
  });
  const privateKey = await readKey(paths.key);
  if (!certificate.ca) throw refuse(`${paths.certificate} may not sign other certificates`);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw refuse(`${paths.key} is not the key of ${paths.certificate}`);
  }
  if (privateKey.asymmetricKeyType !== 'ec') {
    throw refuse(`${paths.key} is no key on an elliptic curve: sign with the tool that made it`);
  }
  if (Date.parse(certificate.validTo) <= Date.now()) {
    throw refuse(`${paths.certificate} is good until ${certificate.validTo} only: make another`);
  }
  return { certificate, privateKey };
}

async function tell(
  certificate: X509Certificate,
  paths: Partial<KeyPair>,
  json: boolean | undefined,
): Promise<void> {
  const identity = identityOf(certificate.subjectAltName);
  const notAfter = new Date(certificate.validTo).toISOString();
  if (json === true) {
    const fields = {
      certificate: paths.certificate,
      key: paths.key ?? null,
      cluster: identity?.cluster ?? null,
      node: identity?.node ?? null,
      authority: certificate.ca,
      names: certificate.subjectAltName ?? null,
      issuer: certificate.issuer,
      not_before: new Date(certificate.validFrom).toISOString(),
      not_after: notAfter,
      sha256: certificate.fingerprint256,
    };
    return print([jsonLine(fields)]);
  }
  const who = certificate.ca
    ? 'a certificate authority'
    : identity === undefined
      ? 'no node: it has no name fluxmq://<cluster>/<node>, or more than one'
      : `node ${identity.node} of cluster ${identity.cluster}`;
  const lines = [
    `${paths.certificate ?? ''}: ${who}, good until ${notAfter}`,
    `  made by ${visible(certificate.issuer.replaceAll('\n', ', '))}`,
  ];
  if (certificate.subjectAltName !== undefined) {
    lines.push(`  names   ${visible(certificate.subjectAltName)}`);
  }
  if (paths.key !== undefined) lines.push(`  key     ${paths.key} (secret)`);
  return print(lines);
}

function readNodeId(written: string): string {
  return checked(written, nodeIdProblem(written));
}

function readClusterId(written: string): string {
  return checked(written, clusterIdProblem(written));
}

function readName(written: string): string {
  const wrong = written === '' || written.length > NAME_LENGTH_MAX;
  return checked(written, wrong ? `has not 1 to ${NAME_LENGTH_MAX} characters` : undefined);
}

function readHosts(written: string, before: readonly string[] = []): readonly string[] {
  const host = written.replace(/^\[(.*)\]$/, '$1');
  const name =
    /^(?=.{1,253}$)([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)*[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/i;
  const good = host.includes('%') ? false : isIP(host) > 0 || name.test(host);
  const problem = good ? undefined : 'is no name of a host and no address; write it without a port';
  if (before.length >= HOSTS_MAX) throw new InvalidArgumentError(`At most ${HOSTS_MAX} of them.`);
  return [...before, checked(host, problem)];
}

function checked(value: string, problem: string | undefined): string {
  if (problem === undefined) return value;
  throw new InvalidArgumentError(`It ${problem}.`);
}
