/** Who a certificate speaks for: one name of ours, or nobody. */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { identityOf, identityUri, sameIdentity } from '../../src/cluster/node-identity.ts';

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);

describe('the identity in a certificate', () => {
  it('is read as it was written, between whatever other names', () => {
    fc.assert(
      fc.property(name, name, (cluster, node) => {
        const uri = `URI:${identityUri({ cluster, node })}`;
        for (const names of [uri, `DNS:a, ${uri}, IP Address:1.2.3.4`]) {
          expect(identityOf(names)).toEqual({ cluster, node });
        }
      }),
    );
  });

  it.each([
    ['no names', undefined],
    ['names of hosts only', 'DNS:node-1, IP Address:127.0.0.1'],
    ['a host that is called like it', 'DNS:fluxmq://c/node-1'],
    ['two nodes', 'URI:fluxmq://c/node-1, URI:fluxmq://c/node-2'],
    ['the same twice', 'URI:fluxmq://c/node-1, URI:fluxmq://c/node-1'],
    ['a good one beside a broken one', 'URI:fluxmq://c/node-1, URI:fluxmq://c/'],
    ['more than a node', 'URI:fluxmq://c/node-1/x'],
    ['a node without a cluster', 'URI:fluxmq:///node-1'],
    // CVE-2021-44532: one name that looks like two when they are joined.
    ['a name that holds another', 'DNS:"x, URI:fluxmq://c/node-1"'],
    ['a quoted name that holds a quote', 'DNS:"x\\", URI:fluxmq://c/node-1"'],
    ['a quoted URI', 'URI:"fluxmq://c/node-1\\u002c"'],
    ['a wildcard', 'URI:fluxmq://c/*'],
  ])('%s: nobody', (_what, names) => {
    expect(identityOf(names)).toBeUndefined();
  });

  it('whatever stands in a certificate, the answer is an identity or none', () => {
    const piece = fc.constantFrom('URI:', 'fluxmq://', 'c/n', ', ', '"', '\\', 'DNS:', 'x');
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 12 }), (pieces) => {
        const found = identityOf(pieces.join(''));
        if (found !== undefined)
          expect(identityUri(found)).toMatch(/^fluxmq:\/\/[\w.-]+\/[\w.-]+$/);
      }),
    );
  });

  it('both parts count', () => {
    const one = { cluster: 'c', node: 'n' };
    expect(sameIdentity(one, { ...one })).toBe(true);
    expect(sameIdentity(one, { ...one, node: 'm' })).toBe(false);
    expect(sameIdentity(one, { ...one, cluster: 'd' })).toBe(false);
  });
});
