/** S5: which name a certificate gives its client, and which gives none. */

import { describe, expect, test } from 'vitest';
import {
  type IdentityField,
  type NamedCertificate,
  certifiedIdentity,
} from '../../../src/protocol/doors/certified-identity.ts';

const NAMES =
  'DNS:device-7.example.com, email:ann@example.com, URI:urn:device:7, IP Address:127.0.0.1';

describe('a certificate gives the name of the kind that was asked for', () => {
  test.each<[IdentityField, string]>([
    ['cn', 'device-7'],
    ['dns', 'device-7.example.com'],
    ['email', 'ann@example.com'],
    ['uri', 'urn:device:7'],
  ])('%s', (field, name) => {
    const certificate = { subject: { CN: 'device-7' }, subjectaltname: NAMES };
    expect(certifiedIdentity(certificate, field)).toBe(name);
  });

  test('a name with commas and quotes is one name', () => {
    const subjectaltname = String.raw`URI:"http://a/, URI:http://b/\"c", DNS:x`;
    expect(certifiedIdentity({ subjectaltname }, 'uri')).toBe('http://a/, URI:http://b/"c');
    expect(certifiedIdentity({ subjectaltname }, 'dns')).toBe('x');
  });
});

describe('it gives none', () => {
  test.each<[string, NamedCertificate, IdentityField]>([
    ['without a subject', {}, 'cn'],
    ['with an empty name', { subject: { CN: '' } }, 'cn'],
    ['with two common names', { subject: { CN: ['a', 'b'] } }, 'cn'],
    ['with two names of the kind', { subjectaltname: 'DNS:a, DNS:b' }, 'dns'],
    ['with names of other kinds only', { subjectaltname: 'DNS:a' }, 'email'],
    ['with a control character', { subject: { CN: 'a\u0000b' } }, 'cn'],
    ['with a line end in quotes', { subjectaltname: String.raw`URI:"a\nb"` }, 'uri'],
    ['with quotes that do not end', { subjectaltname: 'URI:"a' }, 'uri'],
    ['with bytes that are no text', { subject: { CN: 'a\uFFFD' } }, 'cn'],
    ['with a very long name', { subject: { CN: 'x'.repeat(257) } }, 'cn'],
  ])('%s', (_, certificate, field) => {
    expect(certifiedIdentity(certificate, field)).toBeUndefined();
  });
});
