/** The broker's own word in a message of a session's queue. */

import { describe, expect, test } from 'vitest';
import { marked, markOf, unmarked } from '../../src/broker/copy-mark.ts';
import type { Message, MessageProperties } from '../../src/broker/message.ts';

const MARKS = [
  { kind: 'retained', offset: 12, filter: 'a b/+' },
  { kind: 'share', filter: '$share/g h/a b/#' },
] as const;

function message(properties: MessageProperties | undefined): Message {
  return { topic: 't', payload: Buffer.from('x'), qos: 1, retain: false, properties };
}

describe.each(MARKS)('the mark of one that is $kind', (mark) => {
  test.each<MessageProperties>([
    {},
    { contentType: 'x', expirySeconds: 5 },
    { userProperties: [['a', '1']], expirySeconds: 5 },
  ])('is found, and taken off again: %j', (properties) => {
    const { properties: stored, ...others } = marked(message(properties), mark, undefined);
    expect(others).toEqual({ topic: 't', payload: Buffer.from('x'), qos: 1, retain: false });
    expect(markOf(stored)).toEqual(mark);
    expect(unmarked(stored)).toEqual(properties);
  });

  test('comes with what is left of the expiry', () => {
    const { properties } = marked(message({ expirySeconds: 9 }), mark, 4);
    expect(unmarked(properties)).toEqual({ expirySeconds: 4 });
  });
});

test('what lies in queues since before has its bytes', () => {
  const { properties } = marked(message(undefined), MARKS[0], undefined);
  expect(properties?.userProperties).toEqual([['_flux.retained', '12 a b/+']]);
  const { properties: shared } = marked(message(undefined), MARKS[1], undefined);
  expect(shared?.userProperties).toEqual([['_flux.share', '$share/g h/a b/#']]);
});

test('any other property is none', () => {
  const properties: MessageProperties = { userProperties: [['flux.share', 'a']] };
  expect(markOf(properties)).toBeUndefined();
  expect(unmarked(properties)).toBe(properties);
  expect(markOf(undefined)).toBeUndefined();
});
