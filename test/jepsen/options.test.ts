/** What the harness takes on its command line, and what it says of the rest. */

import { describe, expect, it } from 'vitest';
import { Misuse, listText, requestOf } from '../../jepsen/options.ts';

describe('the command line', () => {
  it('has defaults for everything', () => {
    expect(requestOf(['--seed', '7'])).toEqual({
      kind: 'run',
      options: {
        workload: 'queue',
        nodes: 3,
        nemeses: ['kill', 'pause', 'partition'],
        minutes: 3,
        rate: 150,
        network: 'auto',
        seed: 7,
      },
    });
  });

  it('has as many shards as are asked for', () => {
    expect(requestOf(['--shards', '3'])).toMatchObject({ options: { shards: 3 } });
  });

  it('leaves out of the defaults what one node cannot have', () => {
    expect(requestOf(['--nodes', '1'])).toMatchObject({ options: { nemeses: ['kill', 'pause'] } });
  });

  it.each([
    [['--nodes', '4'], /--nodes is 1, 3, 5, not '4'/],
    [['--workload', 'stack'], /no workload 'stack': there are queue/],
    [['--nemesis', 'kill,fire'], /no nemesis 'fire': there are kill, pause, partition, wipe/],
    [['--nemesis', 'kill:tallest'], /no 'kill:tallest': kill has one, minority/],
    [['--nemesis', 'partition', '--nodes', '1'], /'partition' is not possible here: one node/],
    [['--nemesis', 'partition:ring'], /a ring of majorities needs five nodes/],
    [['--nemesis', 'wipe', '--nodes', '1'], /the only copy would be lost/],
    [['--minutes', '0'], /--minutes is a number from 0.05 to 1440, not '0'/],
    [['--rate', '1.5'], /--rate is a whole number from 1 to 100000, not '1.5'/],
    [['--shards', '0'], /--shards is a whole number from 1 to 16, not '0'/],
    [['--shards', '2', '--nodes', '1'], /--shards is a whole number from 1 to 1, not '2'/],
    [['--seed', ''], /--seed is a whole number/],
    [['--network', 'ether'], /--network is auto, namespaces, proxy, not 'ether'/],
    [['--minutes', '60', '--rate', '1000'], /too long .* --minutes 60, --rate 144 is the most/],
    [['--faults', '3'], /--faults/],
  ])('refuses %j', (args, words) => {
    expect(() => requestOf(args)).toThrow(Misuse);
    expect(() => requestOf(args)).toThrow(words);
  });

  it('lists what there is', () => {
    expect(listText()).toMatch(/queue {2,}enqueue[^]*kill {2,}kill -9[^]*partition/);
  });
});
