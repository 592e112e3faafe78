/**
 * Each checker finds the violation that is planted for it, and none in a sound history. A checker
 * that finds nothing would make every run of the harness worthless.
 */

import { describe, expect, it } from 'vitest';
import { checkQueue } from '../../jepsen/checkers/check.ts';
import { checkDeadLetters } from '../../jepsen/checkers/dead-letters.ts';
import { checkDeaths } from '../../jepsen/checkers/deaths.ts';
import { checkDeliveryOrder } from '../../jepsen/checkers/delivery-order.ts';
import { checkFaults } from '../../jepsen/checkers/faults.ts';
import { checkLiveness } from '../../jepsen/checkers/liveness.ts';
import { checkLogOrder } from '../../jepsen/checkers/log-order.ts';
import { type Replica, checkReplicas } from '../../jepsen/checkers/replicas.ts';
import { HistoryByQueue } from '../../jepsen/checkers/queues.ts';
import { checkSettled } from '../../jepsen/checkers/settled.ts';
import { checkTotalQueue } from '../../jepsen/checkers/total-queue.ts';
import { checkWriteGap } from '../../jepsen/checkers/write-gap.ts';
import type { Verdict } from '../../jepsen/checkers/verdict.ts';
import { HistoryBuilder, soundHistory } from '../support/jepsen-history.ts';

const started = (): HistoryBuilder => new HistoryBuilder().phase('load').attach();

/** Not valid, with so many anomalies, of which the first speaks of `words`. */
function expectFound(verdict: Verdict, words: RegExp, count = 1): void {
  expect(verdict.anomalies[0]?.text).toMatch(words);
  expect(verdict.anomalyCount).toBe(count);
  expect(verdict.valid).toBe(false);
}

describe('a sound history', () => {
  it('passes every checker', () => {
    const verdicts = checkQueue(soundHistory().operations, { nemeses: ['kill', 'kill:all'] });
    expect(verdicts.filter(({ valid }) => !valid)).toEqual([]);
    expect(verdicts).toHaveLength(9);
  });
});

describe('total-queue', () => {
  it('finds a message that was acknowledged and never came', () => {
    const { operations } = started().enqueue('a/0').enqueue('a/1').dequeue('a/1', 1).drained();
    expectFound(checkTotalQueue(operations), /lost: a\/0/);
    expect(checkTotalQueue(operations).figures).toMatchObject({ lost: 1, acknowledged: 2 });
  });

  it('finds a message that came to one group and not to the other', () => {
    const { operations } = started()
      .attach('d', 'h')
      .enqueue('a/0')
      .dequeue('a/0', 0, { group: 'h', consumer: 'd' })
      .drained(['g', 'h']);
    expectFound(checkTotalQueue(operations), /lost: a\/0 .* group g/);
  });

  it('finds a message that nobody sent', () => {
    const { operations } = started().dequeue('a/0', 0).drained();
    expectFound(checkTotalQueue(operations), /unexpected: a\/0 .* never sent/);
  });

  it('finds a message that was refused for certain and came all the same', () => {
    const { operations } = started().enqueue('a/0', 'fail').dequeue('a/0', 0).drained();
    expectFound(checkTotalQueue(operations), /unexpected: a\/0 .* refused/);
  });

  it('finds a damaged payload', () => {
    const { operations } = started()
      .enqueue('a/0')
      .dequeue('a/0', 0)
      .dequeue('a/0', 0, { corrupt: true })
      .drained();
    expectFound(checkTotalQueue(operations), /damaged payload: a\/0/);
  });

  it('does not take a queue for sound that was not drained', () => {
    const { operations } = started().enqueue('a/0').dequeue('a/0', 0).drained(['g'], 'fail');
    expectFound(checkTotalQueue(operations), /group g was not drained/);
  });

  it('takes an unknown one for neither lost nor unexpected', () => {
    const { operations } = started()
      .enqueue('a/0', 'info')
      .enqueue('a/1', 'info')
      .enqueue('a/2', 'open')
      .dequeue('a/1', 0)
      .dequeue('a/1', 0)
      .drained();
    const { valid, figures } = checkTotalQueue(operations);
    expect(valid).toBe(true);
    expect(figures).toMatchObject({ unknown: 3, recovered: 1, redelivered: 1, lost: 0 });
  });
});

describe('log-order', () => {
  it('finds a message that was stored twice', () => {
    const { operations } = started().enqueue('a/0').dequeue('a/0', 0).dequeue('a/0', 1);
    expectFound(checkLogOrder(operations), /stored twice: a\/0 .* 0 and 1/);
  });

  it('finds two messages at one offset', () => {
    const { operations } = started()
      .enqueue('a/0', 'info')
      .enqueue('b/0', 'info')
      .dequeue('a/0', 0)
      .dequeue('b/0', 0, { group: 'h' });
    expectFound(checkLogOrder(operations), /offset 0 has a\/0, and b\/0/);
  });

  it('finds messages of one connection that changed places', () => {
    const { operations } = started()
      .enqueue('a/0', 'info')
      .enqueue('a/1', 'info')
      .dequeue('a/1', 0)
      .dequeue('a/0', 1);
    expectFound(checkLogOrder(operations), /a\/1 was sent after a\/0 and lies at 0/);
  });

  it('finds one that lies before what was acknowledged before it was sent', () => {
    const { operations } = started()
      .enqueue('a/0')
      .enqueue('b/0')
      .dequeue('b/0', 0)
      .dequeue('a/0', 1);
    expectFound(checkLogOrder(operations), /b\/0 lies at offset 0, and a\/0 was acknowledged/);
  });

  it('lets messages of two publishers that were under way at once lie in any order', () => {
    const { operations } = started()
      .enqueue('a/0', 'open')
      .enqueue('b/0')
      .dequeue('b/0', 0)
      .dequeue('a/0', 1);
    expect(checkLogOrder(operations).valid).toBe(true);
  });
});

describe('delivery-order', () => {
  const outOfOrder = (history: HistoryBuilder): HistoryBuilder =>
    history.dequeue('a/1', 1).dequeue('a/0', 0);
  const served = (history: HistoryBuilder, seconds: number): HistoryBuilder => {
    for (let nth = 0; nth < seconds; nth += 1) history.after(999).enqueue(`s/${nth}`);
    return history;
  };

  it('finds a message that comes first behind a later one', () => {
    expectFound(checkDeliveryOrder(outOfOrder(started()).operations), /a\/0 .* after a\/1/);
  });

  it('finds it in a group of one consumer also under faults', () => {
    const { operations } = outOfOrder(started().fault('pause', 100));
    expectFound(checkDeliveryOrder(operations), /out of order in group g/);
  });

  it('excuses it in a group of several under faults, and there alone', () => {
    const shared = started().attach('d');
    expectFound(checkDeliveryOrder(outOfOrder(shared).operations), /out of order/);
    const faulty = outOfOrder(started().attach('d').fault('pause', 100));
    const verdict = checkDeliveryOrder(faulty.operations);
    expect([verdict.valid, verdict.figures['excused']]).toEqual([true, 1]);
  });

  it('excuses it in a group of several while the lead goes to another node, and there alone', () => {
    const [before, after] = [{ leadMoves: [0] }, { leadMoves: [Number.MAX_SAFE_INTEGER] }];
    const shared = outOfOrder(started().attach('d')).operations;
    expect(checkDeliveryOrder(shared, before).figures['excused']).toBe(1);
    expectFound(checkDeliveryOrder(shared, after), /out of order/);
    expectFound(checkDeliveryOrder(outOfOrder(started()).operations, before), /out of order/);
  });

  it('excuses a second attempt under faults, since the first one may have been lost on its way', () => {
    const twice = (history: HistoryBuilder): HistoryBuilder =>
      history.dequeue('a/1', 1).dequeue('a/0', 0, { attempt: 2 });
    expectFound(checkDeliveryOrder(twice(started()).operations), /out of order/);
    const { operations } = twice(started().fault('partition', 100));
    expect(checkDeliveryOrder(operations).valid).toBe(true);
  });

  it('excuses it after a connection of the group ended, for as long as it may be remembered', () => {
    const away = (): HistoryBuilder => new HistoryBuilder().attach('b').detach('b').attach();
    const after = (seconds: number): HistoryBuilder => outOfOrder(served(away(), seconds));
    expect(checkDeliveryOrder(after(40).operations).valid).toBe(true);
    expectFound(checkDeliveryOrder(after(50).operations), /out of order/);
  });

  it('excuses a second attempt while one of the group is not heard until its end', () => {
    const ends = (history: HistoryBuilder, last: string): HistoryBuilder =>
      history.dequeue('a/1', 1).dequeue('a/0', 0, { attempt: 2 }).after(900).detach(last);
    const two = (): HistoryBuilder => started().attach('d');
    expect(checkDeliveryOrder(ends(two(), 'd').operations).valid).toBe(true);
    expectFound(checkDeliveryOrder(ends(two(), 'c').operations), /out of order/);
    expectFound(checkDeliveryOrder(outOfOrder(two()).after(900).detach('d').operations), /order/);
    const heard = ends(two(), 'c').dequeue('a/2', 2, { consumer: 'd' }).detach('d');
    expectFound(checkDeliveryOrder(heard.operations), /out of order/);
  });

  it('counts only the time in which the queue was served', () => {
    const away = (): HistoryBuilder => new HistoryBuilder().attach('b').detach('b').attach();
    const after = (seconds: number): HistoryBuilder =>
      outOfOrder(served(served(away(), 10).after(90_000), seconds));
    expect(checkDeliveryOrder(after(30).operations).valid).toBe(true);
    expectFound(checkDeliveryOrder(after(40).operations), /out of order/);
  });

  it('lets a redelivery come late', () => {
    const { operations } = started().dequeue('a/0', 0).dequeue('a/1', 1).dequeue('a/0', 0);
    expect(checkDeliveryOrder(operations).valid).toBe(true);
  });
});

describe('settled', () => {
  const settled = (): HistoryBuilder => started().enqueue('a/0').dequeue('a/0', 0).ack('a/0', 0);

  it('finds a delivery after its settlement was acknowledged', () => {
    const { operations } = settled().after(2_500).dequeue('a/0', 0, { consumer: 'd' });
    expectFound(checkSettled(operations), /a\/0 came to d .* 2\.5 s after/);
  });

  it('lets it come to another group, and to the same one after an unknown settlement', () => {
    const { operations } = settled().after(9_000).dequeue('a/0', 0, { group: 'h' });
    expect(checkSettled(operations).valid).toBe(true);
    const unknown = started().dequeue('a/0', 0).ack('a/0', 0, 'info').after(9_000);
    expect(checkSettled(unknown.dequeue('a/0', 0).operations).valid).toBe(true);
  });

  it('counts what may have been under way as late, and no longer than that', () => {
    const under = settled().after(1_000).dequeue('a/0', 0);
    expect(checkSettled(under.operations)).toMatchObject({ valid: true, figures: { late: 1 } });
    const paused = (ms: number): HistoryBuilder =>
      settled().fault('pause', 5_000).after(ms).dequeue('a/0', 0);
    expect(checkSettled(paused(1_000).operations).valid).toBe(true);
    expectFound(checkSettled(paused(2_500).operations), /came to c/);
    const killed = settled().fault('kill', 5_000).dequeue('a/0', 0);
    expectFound(checkSettled(killed.operations), /came to c/);
  });

  it('counts what a cut has lost as under way for as long again, settled in it or behind it', () => {
    const cut = (): HistoryBuilder => started().enqueue('a/0').dequeue('a/0', 0);
    const inIt = (ms: number): HistoryBuilder =>
      cut().ack('a/0', 0).fault('partition', 4_000).after(ms).dequeue('a/0', 0);
    expect(checkSettled(inIt(5_900).operations).valid).toBe(true);
    expectFound(checkSettled(inIt(6_500).operations), /came to c/);
    const behindIt = (ms: number): HistoryBuilder =>
      cut().fault('partition', 4_000).after(1_000).ack('a/0', 0).after(ms).dequeue('a/0', 0);
    expect(checkSettled(behindIt(4_900).operations).valid).toBe(true);
    expectFound(checkSettled(behindIt(5_500).operations), /came to c/);
  });

  it('allows for the time in which the harness itself stood still', () => {
    const stall = { process: 'harness', f: 'stall', type: 'info', value: 4_000 } as const;
    const { operations } = settled().after(4_000).add(stall).after(500).dequeue('a/0', 0);
    expect(checkSettled(operations).valid).toBe(true);
  });
});

describe('liveness', () => {
  const healed = (): HistoryBuilder => new HistoryBuilder().phase('load').phase('heal');

  it('finds a node that did not come back', () => {
    const { operations } = healed().recovered('n1').recovered('n2', 'fail').drained().phase('end');
    expectFound(checkLiveness(operations), /n2 did not come back for q/);
  });

  it('finds a queue that could not be drained', () => {
    const { operations } = healed().recovered('n1').drained(['g'], 'fail').phase('end');
    expectFound(checkLiveness(operations), /not drained: g of q/, 2);
  });

  it('finds a run without a final heal, and one that did not come to its end', () => {
    expectFound(checkLiveness(started().operations), /ended before its final heal/, 3);
    const { operations } = healed().recovered('n1').drained();
    expectFound(checkLiveness(operations), /did not come to its end/);
  });
});

describe('faults', () => {
  it('finds a kind that was asked for and never installed', () => {
    const { operations } = new HistoryBuilder().fault('kill', 10);
    expectFound(checkFaults(operations, { nemeses: ['kill', 'pause'] }), /pause was asked for/);
    const leader = { nemeses: ['kill:leader'] };
    expectFound(checkFaults(operations, leader), /kill:leader was asked for/);
    const { operations: hit } = new HistoryBuilder().fault('kill', 10, { detail: 'leader: x' });
    expect(checkFaults(hit, leader)).toMatchObject({ valid: true, figures: { 'kill:leader': 1 } });
  });

  it('finds a fault that failed, was never seen in force, or was not healed', () => {
    const check = (more: object): Verdict =>
      checkFaults(new HistoryBuilder().fault('pause', 10, more).operations, { nemeses: [] });
    expectFound(check({ refused: 'no such process' }), /no such process/);
    expectFound(check({ without: 'installed' }), /was not installed/);
    expectFound(check({ without: 'healed' }), /was not healed/);
  });
});

describe('processes', () => {
  it('finds a broker that ended by itself', () => {
    const died = { process: 'harness', f: 'died', type: 'info', value: 'n2' } as const;
    const { operations } = started().add({ ...died, error: 'ended by itself: exit code 1' });
    expectFound(checkDeaths(operations), /n2: ended by itself: exit code 1/);
  });
});

describe('write-gap', () => {
  it('tells the longest time without an acknowledgement that touches a fault', () => {
    const { operations } = new HistoryBuilder()
      .phase('load')
      .after(10)
      .enqueue('a/0')
      .after(5_000)
      .enqueue('a/1')
      .after(100)
      .fault('kill', 300, { detail: 'leader: SIGKILL' })
      .after(800)
      .enqueue('a/2')
      .after(2_000)
      .enqueue('a/3')
      .fault('pause', 50, { detail: 'one: SIGSTOP' })
      .enqueue('a/4')
      .phase('drain');
    const { rows, figures } = checkWriteGap(operations);
    expect(rows?.slice(1)).toEqual([
      ['kill leader', '1', '1201', '1201', '1201'],
      ['pause one', '1', '51', '51', '51'],
    ]);
    expect(figures).toEqual({ longestMs: 5001 });
  });

  it('counts a fault after which nothing was acknowledged until the end of the load', () => {
    const { operations } = new HistoryBuilder()
      .enqueue('a/0')
      .fault('kill', 300)
      .after(9_000)
      .phase('drain');
    expect(checkWriteGap(operations).rows?.[1]).toEqual(['kill one', '1', '9300', '9300', '9300']);
  });
});

describe('several queues', () => {
  const two = (): HistoryBuilder => started().of('r').attach();
  const found = (history: HistoryBuilder, checker: string): Verdict => {
    const verdicts = checkQueue(history.operations, { nemeses: [] });
    const verdict = verdicts.find((each) => each.checker === checker);
    if (verdict === undefined) throw new Error(`no ${checker}`);
    return verdict;
  };

  it('each have offsets, an order and groups of their own', () => {
    const history = two()
      .of('q')
      .enqueue('a/0')
      .enqueue('a/1')
      .of('r')
      .enqueue('b/0')
      .dequeue('b/0', 0)
      .ack('b/0', 0)
      .of('q')
      .dequeue('a/0', 0)
      .dequeue('a/1', 1)
      .drained()
      .of('r')
      .drained();
    for (const checker of ['total-queue', 'log-order', 'delivery-order', 'settled']) {
      expect(found(history, checker)).toMatchObject({ checker, valid: true });
    }
    expect(found(history, 'total-queue').figures).toMatchObject({ sent: 3, lost: 0 });
  });

  it('are each judged, and what is found says where', () => {
    const history = two().enqueue('b/0').of('q').enqueue('a/0').dequeue('a/0', 0).drained();
    expectFound(found(history.of('r').drained(), 'total-queue'), /^r: lost: b\/0/);
    const twice = two().enqueue('b/0').dequeue('b/0', 0).dequeue('b/0', 1);
    expectFound(found(twice.of('q').enqueue('a/0'), 'log-order'), /^r: stored twice: b\/0/);
  });

  it('have a gap where one of them waits, and others do not', () => {
    const history = two().enqueue('b/0').of('q').enqueue('a/0').fault('kill', 300);
    history.enqueue('a/1').after(3_000).of('r').enqueue('b/1').phase('drain');
    expect(checkWriteGap(history.operations).rows?.[1]?.[2]).toBe('3303');
  });
});

describe('dead-letters', () => {
  const rejected = (end: 'ok' | 'info' = 'ok'): HistoryBuilder =>
    started().enqueue('a/0').dequeue('a/0', 0).reject('a/0', 0, end).drained().of('d').attach();
  const check = (history: HistoryBuilder): Verdict => {
    const queues = new HistoryByQueue(history.operations);
    return checkDeadLetters(queues, { nemeses: [], rejects: true });
  };

  it('are sound when what was rejected comes once to where it belongs', () => {
    const verdict = check(rejected().dequeue('a/0', 0).dequeue('a/0', 0).drained());
    expect(verdict).toMatchObject({ valid: true, figures: { rejected: 1, lost: 0 } });
  });

  it('are lost', () => {
    expectFound(check(rejected().drained()), /lost: a\/0/);
    expect(check(rejected('info').drained()).valid).toBe(true);
  });

  it('are there twice', () => {
    const history = rejected().dequeue('a/0', 0).dequeue('a/0', 1).drained();
    expectFound(check(history), /stored twice: a\/0 lies at offsets 0 and 1/);
  });

  it('are there, and nobody rejected them', () => {
    const history = rejected().dequeue('a/0', 0).dequeue('a/1', 1).drained();
    expectFound(check(history), /unexpected: a\/1/);
  });

  it('come though the answer to the first rejection was lost, and that to the second heard', () => {
    const history = started().enqueue('a/0').dequeue('a/0', 0).reject('a/0', 0, 'info');
    history.reject('a/0', 0, 'ok').reject('a/0', 0, 'info').of('d').attach().drained();
    expectFound(check(history), /lost: a\/0/);
  });

  it('are missed where nobody rejected anything', () => {
    expectFound(check(started().enqueue('a/0')), /nobody rejected anything/);
  });

  it('do not come again to the group that rejected them', () => {
    const history = started().dequeue('a/0', 0).reject('a/0', 0).after(2_500).dequeue('a/0', 0);
    expectFound(checkSettled(history.operations), /a\/0 came to c/);
  });
});

describe('replicas', () => {
  /** `1a 2b` is an entry of term 1 with payload a, then one of term 2; indexes from `first`. */
  const replica = (node: string, text: string, first = 1): Replica => {
    const entries = text.split(' ').map((entry, at) => {
      return { index: first + at, term: Number(entry[0]), checksum: entry.slice(1) };
    });
    return { node, entries };
  };
  const check = (...texts: string[]): Verdict =>
    checkReplicas(texts.map((text, at) => replica(`n${at + 1}`, text)));

  it('are sound where they agree, also with a beginning or an end missing', () => {
    expect(check('1a 1b 2c', '1a 1b 2c', '1a 1b')).toMatchObject({
      valid: true,
      figures: { logs: 3, agreed: 2, compared: 7 },
    });
    const late = [replica('n1', '1a 1b 2c'), replica('n2', '1b 2c', 2), replica('n3', '1a 1b 2c')];
    expect(checkReplicas(late)).toMatchObject({ valid: true, figures: { agreed: 3 } });
  });

  it('may differ above what all agree on, where nothing needs to be committed', () => {
    expect(check('1a 1b 2c', '1a 1b 3d', '1a 1b 3d').valid).toBe(true);
  });

  it('have another payload under one index and term', () => {
    expectFound(check('1a 1b', '1a 1b', '1a 1x'), /index 2 of n1 and n3: one term, 1/, 2);
  });

  it('have another term below what all agree on', () => {
    expectFound(check('1a 1b 3c', '1a 2x 3c', '1a 1b 3c'), /index 2 .* terms 1 and 2/, 2);
  });

  it('are far behind', () => {
    const long = Array.from({ length: 70 }, () => '1a').join(' ');
    expectFound(check(long, long, '1a'), /n3 ends at 1, a majority has 70/);
  });

  it('cannot be read, or have nothing in common', () => {
    const [first, second] = [replica('n1', '1a'), replica('n2', '1a')];
    const unread = { node: 'n3', entries: undefined };
    expectFound(checkReplicas([first, second, unread]), /log of n3 could not be read/);
    const apart = checkReplicas([first, replica('n2', '1b', 2), replica('n3', '1c', 3)]);
    expectFound(apart, /no two replicas have an entry in common/);
  });

  it('are judged by what took the place of a truncated end', () => {
    const entry = (index: number, term: number, checksum: string): object => ({
      index,
      term,
      checksum,
    });
    const again = [entry(1, 1, 'a'), entry(2, 1, 'x'), entry(3, 1, 'y'), entry(2, 2, 'b')];
    const cut = { node: 'n1', entries: again as NonNullable<Replica['entries']> };
    const verdict = checkReplicas([cut, replica('n2', '1a 2b'), replica('n3', '1a 2b')]);
    expect(verdict).toMatchObject({ valid: true, figures: { agreed: 2, compared: 6 } });
  });
});
