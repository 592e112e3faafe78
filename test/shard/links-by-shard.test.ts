/** One link for all shards of two nodes: each hears its own, and nobody waits for one that is not
 * here. */

import { expect, it } from 'vitest';
import { linkHeader, readLinkFrame } from '../../src/shard/link-frames.ts';
import { LinksByShard } from '../../src/shard/links-by-shard.ts';
import { type LinkEnd, LinkKind, type LinkListener } from '../../src/shard/peer-links.ts';

interface Sent {
  readonly shard: number;
  readonly kind: number;
  readonly session: number;
}

class End implements LinkEnd {
  readonly node = 'b';
  readonly sent: Sent[] = [];
  room = true;

  send(shard: number, parts: readonly Uint8Array[]): boolean {
    if (!this.room) return false;
    const { kind, session } = readLinkFrame(Buffer.concat(parts));
    this.sent.push({ shard, kind, session });
    return true;
  }
}

class User {
  readonly heard: string[] = [];

  opened(): LinkListener {
    return this.#listener('opened');
  }

  accepted(): LinkListener {
    return this.#listener('accepted');
  }

  #listener(way: string): LinkListener {
    this.heard.push(way);
    return {
      received: (shard) => void this.heard.push(`${way} ${shard}`),
      room: () => void this.heard.push(`${way} room`),
      down: () => void this.heard.push(`${way} down`),
    };
  }
}

const begin = linkHeader(LinkKind.begin, 7);

it('each shard hears what is of it, and of links that were there before', () => {
  const links = new LinksByShard(64);
  const [zero, one] = [new User(), new User()];
  links.use(0, zero);
  const link = links.opened(new End());
  links.use(1, one);
  link.received(0, begin);
  link.received(1, begin);
  link.room();
  link.down();
  expect(zero.heard).toEqual(['opened', 'opened 0', 'opened room', 'opened down']);
  expect(one.heard).toEqual(['opened', 'opened 1', 'opened room', 'opened down']);
  const late = new User();
  links.use(2, late);
  expect(late.heard).toEqual([]);
});

it('who asks for a shard that is not here is told so, also when there was no room', () => {
  const links = new LinksByShard(64);
  const end = new End();
  const link = links.accepted(end);
  end.room = false;
  link.received(3, begin);
  link.received(3, linkHeader(LinkKind.batch, 7));
  expect(end.sent).toEqual([]);
  end.room = true;
  link.room();
  expect(end.sent).toEqual([{ shard: 3, kind: LinkKind.end, session: 7 }]);
  const user = new User();
  links.use(3, user);
  link.received(3, begin);
  expect(end.sent).toHaveLength(1);
  expect(user.heard).toEqual(['accepted', 'accepted 3']);
});

it('words that cannot be, and shards that cannot be, are passed over', () => {
  const links = new LinksByShard(64);
  const end = new End();
  const link = links.accepted(end);
  link.received(3, new Uint8Array(2));
  link.received(64, begin);
  links.opened(end).received(3, begin);
  expect(end.sent).toEqual([]);
});
