/**
 * A CONNECT on its way in: whether it is granted, and whose it is; then its session. Both may take
 * their time, and its client may be gone before it is answered: then nothing of it has happened.
 */

import type { Message } from '../../broker/message.ts';
import type { Transport } from '../transport.ts';
import {
  attachRequest,
  type Granted,
  judged,
  type JudgeParts,
  lostRight,
  type Verdict,
} from './admission.ts';
import type { ClaimRefusal } from './claims.ts';
import { willMessage } from './convert.ts';
import { CLAIM_REFUSALS, type ConnectRefusal } from './handshake.ts';
import type { ConnectPacket } from './packet.ts';
import type { Attached, SessionOwner } from './sessions.ts';

/** It may come in. */
export interface Arrived extends Granted {
  readonly kind: 'arrived';
  readonly attached: Attached;
  /** As CONNECT said; it owns its bytes. */
  readonly will: Message | undefined;
}

export type ConnectAnswer =
  | Arrived
  | { readonly kind: 'refused'; readonly refusal: ConnectRefusal }
  /** Another CONNECT with the client id came before this one was answered. */
  | { readonly kind: 'superseded' };

export interface ArrivalParts extends JudgeParts {
  readonly transport: Transport;
  readonly owner: SessionOwner;
  /** Once, during the call where nothing has to be waited for; not at all to who is gone. */
  readonly answered: (answer: ConnectAnswer) => void;
}

export function arrive(packet: ConnectPacket, parts: ArrivalParts): void {
  // What of the packet is a view is read now or never.
  const will = packet.will && willMessage(packet.will);
  const found = judged(packet, parts);
  if (!(found instanceof Promise)) {
    attach({ packet, will }, found, parts);
    return;
  }
  void found.then((verdict) => {
    if (!parts.isGone()) attach({ packet, will }, verdict, parts);
  });
}

function attach(
  { packet, will }: { readonly packet: ConnectPacket; readonly will: Message | undefined },
  verdict: Verdict,
  { context, owner, isGone, answered }: ArrivalParts,
): void {
  if ('reasonCode' in verdict) {
    answered({ kind: 'refused', refusal: verdict });
    return;
  }
  const { sessions, access } = context;
  const version = access?.version;
  sessions.attach(owner, attachRequest(packet, verdict, will), (attached) => {
    if (typeof attached !== 'object') {
      if (!isGone()) answered(unattached(attached));
      return;
    }
    const { session } = attached;
    // Who is connected was judged when there were other rules; this one was not yet.
    const isJudged = verdict.rights === undefined || access?.version === version;
    const lost = isJudged ? undefined : lostRight(session, verdict.rights);
    // It was never connected: its will is not published.
    if (isGone() || lost !== undefined) sessions.detach(owner, session, undefined);
    if (isGone()) return;
    if (lost !== undefined) answered({ kind: 'refused', refusal: lost });
    else answered({ kind: 'arrived', ...verdict, attached, will });
  });
}

function unattached(refused: ClaimRefusal): ConnectAnswer {
  if (refused === 'superseded') return { kind: 'superseded' };
  return { kind: 'refused', refusal: CLAIM_REFUSALS[refused] };
}
