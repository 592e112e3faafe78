/** Which answers to heartbeats may wait for company, and which never do. */

import { describe, expect, it } from 'vitest';
import { PatientAnswer } from '../../../raft/host/patient-answer.ts';
import type { PeerMessage } from '#raft';
import { Hosts } from './hosts.ts';
import type { TestHost } from './hosts.ts';

const answer = {
  kind: 'heartbeatReply',
  from: 'b',
  to: 'a',
  term: 3,
  session: 1,
  round: 7,
  inReserve: false,
} as const;

describe('an answer to a heartbeat', () => {
  it('waits when it says what the last one said, and is taken once', () => {
    const patient = new PatientAnswer();
    expect(patient.keeps(answer)).toBe(false);
    expect(patient.take()).toBeUndefined();
    expect(patient.keeps(answer)).toBe(true);
    expect(patient.take()).toEqual(answer);
    expect(patient.take()).toBeUndefined();
  });

  it.each([
    ['another leader', { to: 'c' }],
    ['another term', { term: 4 }],
    ['another session', { session: 2 }],
    ['another round of reads (thesis 6.4)', { round: 8 }],
    ['another word on its disk', { inReserve: true }],
  ])('never waits when it tells of %s, nor does an older one then', (_, change) => {
    const patient = new PatientAnswer();
    patient.keeps(answer);
    expect(patient.keeps(answer)).toBe(true);
    expect(patient.keeps({ ...answer, ...change })).toBe(false);
    expect(patient.take()).toBeUndefined();
  });
});

const isBeat = ({ kind }: PeerMessage): boolean => kind === 'heartbeat';
const isAnswer = ({ kind }: PeerMessage): boolean => kind === 'heartbeatReply';

async function settled(): Promise<Hosts> {
  const hosts = new Hosts();
  await hosts.start();
  const leader = await hosts.elect();
  await hosts.applied(hosts.hosts, leader.propose('first'));
  // Heartbeats enough for everybody to have answered one of this leader.
  for (let steps = 0; steps < 50; steps++) await hosts.step();
  return hosts;
}

describe('a cluster of three in which nothing happens', () => {
  it('says two messages for each peer and heartbeat, and its leader stays', async () => {
    const hosts = await settled();
    const { leader } = hosts;
    const from = hosts.sent.length;
    for (let steps = 0; steps < 500; steps++) await hosts.step();
    const sent = hosts.sent.slice(from);
    const beats = sent.filter(isBeat).length;
    expect(beats).toBe(2 * Math.floor(500 / 10));
    expect(Math.abs(sent.filter(isAnswer).length - beats)).toBeLessThanOrEqual(2);
    expect(sent.length).toBeLessThan(2.5 * beats);
    expect(hosts.leader).toBe(leader);
  });

  it('confirms a read without a tick (thesis 6.4)', async () => {
    const hosts = await settled();
    const leader = hosts.leader as TestHost;
    let read: number | undefined;
    leader.node?.read((index) => {
      read = index;
    });
    for (let steps = 0; steps < 20 && read === undefined; steps++) await hosts.settle();
    expect(read).toBeGreaterThan(0);
  });
});
