/**
 * What a client says first to the leader of a new session: who it is, its consumers with what they
 * hold, and everything that it asked for and has no answer to. The numbered commands follow when
 * the leader has said how far their stream is.
 *
 * The order matters: what is settled comes before `claimed`, so that nothing of it is taken for a
 * message that nobody holds.
 */

import type { Asked } from './asked.ts';
import { writeAsk, writeClaimed, writeEndSession, writeHello } from './client-frames.ts';
import type { ClientRoute } from './client-route.ts';
import type { Consumers } from './consumers.ts';
import type { Posting } from './posting.ts';
import type { QueueTable } from './queue-table.ts';
import type { ShardRequests } from './shard-requests.ts';
import type { WireWriter } from './wire.ts';

export interface GreetingParts {
  readonly node: string;
  /** Where frames are written. */
  readonly control: WireWriter;
  readonly route: ClientRoute;
  readonly posting: Posting;
  readonly queues: QueueTable;
  readonly consumers: Consumers;
  readonly asked: Asked;
  readonly requests: ShardRequests;
}

export function greet(parts: GreetingParts): void {
  const { control, route, posting, consumers } = parts;
  posting.begin();
  parts.queues.restart();
  writeHello(control, parts.node, posting.boot);
  const work = route.unworked.takeAll();
  consumers.attachAgain(work);
  consumers.settleAgain(work);
  writeClaimed(control);
  for (const [tag, request] of parts.asked.unanswered()) writeAsk(control, tag, request);
  for (const each of work) if (each.kind === 'end') sayEnd(parts, each.session);
  parts.requests.reached();
}

/** The end of a session (of MQTT). */
export function sayEnd(
  { control, route }: Pick<GreetingParts, 'control' | 'route'>,
  session: string,
): void {
  writeEndSession(control, session);
  if (route.isRouted) route.unworked.add({ kind: 'end', session });
}
