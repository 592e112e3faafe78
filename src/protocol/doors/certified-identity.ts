/**
 * Who a client is by its certificate: its common name, or its one subject alternative name of a
 * kind (RFC 5280 4.1.2.6, 4.2.1.6). Pure.
 *
 * Never chooses among several: a certificate that names two speaks for nobody. A name that is no
 * text of printable characters is none: it goes into logs and into patterns of rules.
 */

export const IDENTITY_FIELDS = ['cn', 'dns', 'email', 'uri'] as const;
export type IdentityField = (typeof IDENTITY_FIELDS)[number];

/** What Node.js tells of the certificate of the other end. */
export interface NamedCertificate {
  readonly subject?: { readonly CN?: string | readonly string[] } | undefined;
  readonly subjectaltname?: string | undefined;
}

const NAME_LENGTH_MAX = 256;

export function certifiedIdentity(
  { subject, subjectaltname }: NamedCertificate,
  field: IdentityField,
): string | undefined {
  const names = field === 'cn' ? commonNames(subject?.CN) : alternatives(subjectaltname, field);
  const [name] = names;
  if (names.length !== 1 || name === undefined) return undefined;
  const isName = name !== '' && name.length <= NAME_LENGTH_MAX && !/[\p{C}\uFFFD]/u.test(name);
  return isName ? name : undefined;
}

function commonNames(cn: string | readonly string[] | undefined): readonly string[] {
  if (cn === undefined) return [];
  return typeof cn === 'string' ? [cn] : cn;
}

const PREFIXES = { dns: 'DNS:', email: 'email:', uri: 'URI:' } as const;

/**
 * Node.js joins them by `, `, each with its kind, and writes one that holds a comma, a quote or the
 * like as a JSON text, so that no name can look like two.
 */
function alternatives(written: string | undefined, field: keyof typeof PREFIXES): string[] {
  const prefix = PREFIXES[field];
  const names = written?.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? [];
  return names
    .map((name) => name.trim())
    .filter((name) => name.startsWith(prefix))
    .map((name) => unquoted(name.slice(prefix.length)));
}

function unquoted(name: string): string {
  if (!name.startsWith('"')) return name;
  try {
    return String(JSON.parse(name));
  } catch {
    return '';
  }
}
