/**
 * Makes the certificates of `fluxmq cert`: X.509 version 3 (RFC 5280), keys on the curve P-256,
 * signatures with ECDSA and SHA-256 (RFC 5758 3.2). Keys and signatures are those of `node:crypto`;
 * only the bytes of the certificate are put together here.
 *
 * A certificate of a node is for both ends of a connection, may sign nothing, and names the node
 * and its cluster as `src/cluster/node-identity.ts` reads it.
 */

import { type KeyObject, type X509Certificate, createHash, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { type Der, Tag } from './der.ts';
import { bits, element, elementsOf, integer, octets, oid, sequence, time } from './der.ts';
import { utf8, yes } from './der.ts';

const Oid = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** RFC 5280 4.1.2.2: positive, at most 20 bytes; random, so that no list of them is kept. */
const SERIAL_BYTES = 16;
const VERSION_3 = Buffer.from([2]);
/** RFC 5280 4.2.1.3, the first bit is the highest: digitalSignature; keyCertSign and cRLSign. */
const MAY_SIGN_DATA = bits(Buffer.from([0x80]), 7);
const MAY_SIGN_CERTIFICATES = bits(Buffer.from([0x06]), 1);
/** Of GeneralName, RFC 5280 4.2.1.6. */
const NameTag = { dns: 0x82, uri: 0x86, ip: 0x87 } as const;

export interface Validity {
  readonly from: Date;
  readonly until: Date;
}

export interface CaWish {
  /** The common name. */
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  readonly validity: Validity;
}

export interface NodeWish {
  readonly name: string;
  readonly uri: string;
  /** Names of hosts, and addresses. */
  readonly hosts: readonly string[];
  readonly publicKey: KeyObject;
  readonly validity: Validity;
}

/** A certificate that may sign others, and its key. */
export interface Issuer {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
}

export function makeCa({ name, publicKey, privateKey, validity }: CaWish): string {
  const subject = nameOf(name);
  const keyId = keyIdOf(publicKey);
  const extensions = [
    extension(Oid.basicConstraints, 'critical', sequence(yes(), integer(Buffer.from([0])))),
    extension(Oid.keyUsage, 'critical', MAY_SIGN_CERTIFICATES),
    extension(Oid.subjectKeyId, '', octets(keyId)),
  ];
  const body = bodyOf({ issuer: subject, subject, publicKey, validity, extensions });
  return signed(body, privateKey);
}

export function makeNodeCertificate(wish: NodeWish, issuer: Issuer): string {
  const { name, uri, hosts, publicKey, validity } = wish;
  const { subject: issuerName, keyId } = issuerParts(issuer.certificate);
  const names = [element(NameTag.uri, Buffer.from(uri)), ...hosts.map(hostName)];
  const extensions = [
    extension(Oid.basicConstraints, 'critical', sequence()),
    extension(Oid.keyUsage, 'critical', MAY_SIGN_DATA),
    extension(Oid.extendedKeyUsage, '', sequence(oid(Oid.serverAuth), oid(Oid.clientAuth))),
    extension(Oid.subjectAltName, '', sequence(...names)),
    extension(Oid.subjectKeyId, '', octets(keyIdOf(publicKey))),
    extension(Oid.authorityKeyId, '', sequence(element(0x80, keyId))),
  ];
  const subject = nameOf(name);
  const body = bodyOf({ issuer: issuerName, subject, publicKey, validity, extensions });
  return signed(body, issuer.privateKey);
}

interface Body {
  readonly issuer: Der;
  readonly subject: Der;
  readonly publicKey: KeyObject;
  readonly validity: Validity;
  readonly extensions: readonly Der[];
}

/** TBSCertificate, RFC 5280 4.1. */
function bodyOf({ issuer, subject, publicKey, validity, extensions }: Body): Der {
  return sequence(
    element(0xa0, integer(VERSION_3)),
    integer(randomBytes(SERIAL_BYTES)),
    algorithm(),
    issuer,
    sequence(time(validity.from), time(validity.until)),
    subject,
    publicKey.export({ format: 'der', type: 'spki' }),
    element(0xa3, sequence(...extensions)),
  );
}

function signed(body: Der, key: KeyObject): string {
  const certificate = sequence(body, algorithm(), bits(sign('sha256', body, key)));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

const algorithm = (): Der => sequence(oid(Oid.ecdsaWithSha256));

const nameOf = (commonName: string): Der =>
  sequence(element(Tag.set, sequence(oid(Oid.commonName), utf8(commonName))));

function extension(id: string, critical: 'critical' | '', value: Der): Der {
  const flags = critical === '' ? [] : [yes()];
  return sequence(oid(id), ...flags, octets(value));
}

function hostName(host: string): Der {
  return isIP(host) === 0
    ? element(NameTag.dns, Buffer.from(host))
    : element(NameTag.ip, addressBytes(host));
}

/** The four or sixteen bytes of an address that `isIP` took, without a zone. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // A URL writes all of it in groups of hexadecimal digits, at most one `::` among them.
  const written = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = written.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [before, behind] = [groups(head), groups(tail ?? '')];
  const zeros = Array.from({ length: 8 - before.length - behind.length }, () => '0');
  const all = [...before, ...zeros, ...behind].map((group) => group.padStart(4, '0'));
  return Buffer.from(all.join(''), 'hex');
}

/** RFC 5280 4.2.1.2, the first method: SHA-1 of the bits of the public key. */
function keyIdOf(publicKey: KeyObject): Buffer {
  const spki = elementsOf(publicKey.export({ format: 'der', type: 'spki' }))?.[0];
  const key = spki && elementsOf(spki.content)?.[1];
  if (key === undefined) throw new Error('node:crypto wrote a public key of another shape');
  return createHash('sha1').update(key.content.subarray(1)).digest();
}

/** The name and the key id of an issuer as they stand in its certificate. */
function issuerParts(certificate: X509Certificate): { subject: Der; keyId: Buffer } {
  const whole = elementsOf(certificate.raw)?.[0];
  const body = whole && elementsOf(whole.content)?.[0];
  // OpenSSL has read it before: version, serial, algorithm, issuer, validity, subject, ...
  const parts = (body && elementsOf(body.content)) ?? [];
  const subject = parts[5];
  if (subject === undefined) throw new Error('a certificate of another shape');
  return { subject: subject.whole, keyId: writtenKeyId(parts) ?? keyIdOf(certificate.publicKey) };
}

function writtenKeyId(parts: NonNullable<ReturnType<typeof elementsOf>>): Buffer | undefined {
  const wanted = oid(Oid.subjectKeyId);
  const holder = parts.find(({ tag }) => tag === 0xa3);
  const list = holder && elementsOf(holder.content)?.[0];
  for (const each of (list && elementsOf(list.content)) ?? []) {
    const [id, ...rest] = elementsOf(each.content) ?? [];
    if (id === undefined || !id.whole.equals(wanted)) continue;
    const value = rest.at(-1);
    return value && elementsOf(value.content)?.[0]?.content;
  }
  return undefined;
}
