/** What becomes of requests that the leader had heard when it was lost. */

import { describe, expect, it } from 'vitest';
import { encodeRecord } from '../../src/shard/record-codec.ts';
import { ShardRequests } from '../../src/shard/shard-requests.ts';
import { WireWriter } from '../../src/shard/wire.ts';

function rig() {
  const control = new WireWriter(1024);
  const requests = new ShardRequests(control, () => undefined);
  return { control, requests };
}

describe('a request that the leader had heard when it was lost', () => {
  it.each([
    { kind: 'list', after: '', max: 10 },
    { kind: 'show', name: 'q' },
  ] as const)('is asked again of the next one where it only reads: $kind', async (request) => {
    const { control, requests } = rig();
    const answer = requests.make(request);
    requests.lost();
    const before = control.written().length;
    requests.reached();
    expect(control.written().length).toBeGreaterThan(before);
    const body = encodeRecord(null);
    expect(requests.replied({ kind: 'reply', id: 1, accepted: true, body })).toBe(true);
    expect(await answer).toEqual(body);
  });

  it('is told as not known where it changes something', async () => {
    const { requests } = rig();
    const answer = requests.make({ kind: 'delete', name: 'q' });
    requests.lost();
    await expect(answer).rejects.toThrow('whether it was done is not known');
  });
});
