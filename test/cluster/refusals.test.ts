/** Who is turned away is counted each time, and told in the log once in an interval. */

import { describe, expect, it } from 'vitest';
import { REFUSAL_LOG_INTERVAL_MS } from '../../src/cluster/peer-limits.ts';
import { PeerError, RefusalLog } from '../../src/cluster/refusals.ts';
import { Lines } from '../support/peer-world.ts';

describe('refusals', () => {
  it('are told once in an interval for each reason, with how many there were', () => {
    const lines = new Lines();
    let now = 0;
    const refusals = new RefusalLog(lines, () => now);
    const times = (): unknown[] =>
      lines.of('a peer was turned away').map((fields) => [fields['refusal'], fields['times']]);
    for (let n = 0; n < 1_000; n += 1) refusals.refused(new PeerError('tls', 'why'), 'there');
    refusals.refused(new PeerError('cluster', 'why'), undefined);
    expect(times()).toEqual([
      ['tls', 1],
      ['cluster', 1],
    ]);
    now = REFUSAL_LOG_INTERVAL_MS - 1;
    refusals.refused(new PeerError('tls', 'why'), 'there');
    expect(times()).toHaveLength(2);
    now = REFUSAL_LOG_INTERVAL_MS;
    refusals.refused(new PeerError('tls', 'why'), 'there');
    expect(times().at(-1)).toEqual(['tls', 1_001]);
    expect([refusals.count('tls'), refusals.count('cluster'), refusals.count('version')]).toEqual([
      1_002, 1, 0,
    ]);
  });
});
