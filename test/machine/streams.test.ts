import { describe, expect, it } from 'vitest';
import { OUTCOMES } from '../../src/machine/effect.ts';
import { IN_TURN, STREAM_WINDOW, Stream, outcomeCode } from '../../src/machine/streams.ts';

function outcome(stream: Stream, boot: number, number: number): string {
  const code = stream.check(boot, number);
  return code === IN_TURN ? 'in turn' : (OUTCOMES[code] as string);
}

function opened(accepted = 0): Stream {
  const stream = new Stream();
  stream.open();
  for (let i = 0; i < accepted; i += 1) stream.accept();
  return stream;
}

describe('a stream', () => {
  it('takes the next number and no other', () => {
    const stream = opened(3);
    expect([1, 2, 3, 4, 5].map((number) => outcome(stream, 1, number))).toEqual([
      'accepted',
      'accepted',
      'accepted',
      'in turn',
      'gap',
    ]);
  });

  it('Q32: a retried number has the outcome that it had, also after a reload', () => {
    let stream = opened(1);
    stream.refuse(outcomeCode('disk-full'));
    stream.accept();
    stream.refuse(outcomeCode('no-queue'));
    for (let life = 0; life < 2; life += 1) {
      expect([1, 2, 3, 4].map((number) => outcome(stream, 1, number))).toEqual([
        'accepted',
        'disk-full',
        'accepted',
        'no-queue',
      ]);
      stream = Stream.fromData(stream.toData());
    }
  });

  it('keeps refusals until they are answered, and no longer', () => {
    const stream = opened();
    for (let i = 0; i < 10; i += 1) stream.refuse(outcomeCode('disk-full'));
    stream.answered(1, 4);
    expect(stream.unansweredRefusals).toBe(6);
    expect(outcome(stream, 1, 4)).toBe('answered');
    expect(outcome(stream, 1, 5)).toBe('disk-full');
    // An older copy of a command says less, and takes nothing back.
    stream.answered(1, 2);
    expect(outcome(stream, 1, 4)).toBe('answered');
    // Nobody can be answered what was not applied.
    stream.answered(1, 1_000);
    expect(stream.unansweredRefusals).toBe(0);
    expect(outcome(stream, 1, 11)).toBe('in turn');
    stream.accept();
    expect(outcome(stream, 1, 11)).toBe('accepted');
  });

  it('lets at most 4,096 numbers be unanswered', () => {
    const stream = opened(STREAM_WINDOW);
    expect(outcome(stream, 1, STREAM_WINDOW + 1)).toBe('window');
    stream.answered(1, 1);
    expect(outcome(stream, 1, STREAM_WINDOW + 1)).toBe('in turn');
  });

  it('a new boot starts at 1, and the old one is refused for ever', () => {
    const stream = opened(5);
    expect(outcome(new Stream(), 1, 1)).toBe('unknown-boot');
    expect(outcome(stream, 2, 1)).toBe('unknown-boot');
    expect(stream.open()).toBe(2);
    expect(outcome(stream, 1, 6)).toBe('stale-boot');
    expect(outcome(stream, 2, 1)).toBe('in turn');
    stream.accept();
    stream.answered(1, 5);
    expect(outcome(stream, 2, 1)).toBe('accepted');
  });

  it('outcomes keep their places: they are stored', () => {
    expect(OUTCOMES.map((each) => `${outcomeCode(each)} ${each}`)).toEqual([
      '0 accepted',
      '1 no-queue',
      '2 disk-full',
      '3 queue-full',
      '4 too-large',
      '5 unavailable',
      '6 duplicate',
      '7 producer-refused',
      '8 stale-owner',
      '9 answered',
      '10 gap',
      '11 window',
      '12 stale-boot',
      '13 unknown-boot',
    ]);
  });
});
