/**
 * Which node a certificate speaks for: exactly one subject alternative name of the form
 * `fluxmq://<cluster>/<node>` (RFC 5280 4.2.1.6, a URI). Names of hosts and addresses in the same
 * certificate are for other tools: a node may move to another address and stays who it is.
 *
 * Never takes the common name for an identity, and never chooses among several: a certificate that
 * names two nodes speaks for none.
 */

export interface NodeIdentity {
  readonly cluster: string;
  readonly node: string;
}

const SCHEME = 'fluxmq://';
const IDENTITY =
  /^fluxmq:\/\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})$/;
const URI = 'URI:';

export function identityUri({ cluster, node }: NodeIdentity): string {
  return `${SCHEME}${cluster}/${node}`;
}

/**
 * `names` as Node.js writes the subject alternative names of a certificate: joined by `, `, each
 * with its kind, and one that holds a comma, a quote or the like written as a JSON text, so that
 * no name can look like two.
 */
export function identityOf(names: string | undefined): NodeIdentity | undefined {
  const found: NodeIdentity[] = [];
  for (const name of splitNames(names ?? '')) {
    if (!name.startsWith(`${URI}${SCHEME}`)) continue;
    const [, cluster, node] = IDENTITY.exec(name.slice(URI.length)) ?? [];
    if (cluster === undefined || node === undefined) return undefined;
    found.push({ cluster, node });
  }
  return found.length === 1 ? found[0] : undefined;
}

export function sameIdentity(one: NodeIdentity, other: NodeIdentity): boolean {
  return one.cluster === other.cluster && one.node === other.node;
}

/** Names that are quoted stay so: none of ours needs it. */
function splitNames(names: string): string[] {
  return names.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g)?.map((name) => name.trim()) ?? [];
}
