/** What should have happened by now on the connection of a client, and did not. */

import type { Client, ServerEnding } from './client.ts';
import { ReasonCode } from './reason-codes.ts';

/** Milliseconds of the clock of the broker. */
export interface Times {
  readonly now: number;
  /** When it last gave a sign of life, or could not. */
  readonly lastReadMs: number;
}

/** Why its connection ends; undefined: its time is not over. */
export function outOfTime(
  { rights, reauthentication, grant }: Client,
  { now, lastReadMs }: Times,
): ServerEnding | undefined {
  if (rights?.hasEnded === true) {
    return { reasonCode: ReasonCode.maximumConnectTime, text: 'the token has expired' };
  }
  const overdue = reauthentication?.overdue(now);
  if (overdue !== undefined) return overdue;
  const { keepAliveSeconds } = grant;
  // [MQTT-3.1.2-22]
  if (keepAliveSeconds === 0 || now - lastReadMs <= keepAliveSeconds * 1500) return undefined;
  return {
    reasonCode: ReasonCode.keepAliveTimeout,
    text: 'no packet within 1.5 keep-alives',
    limit: 'keep-alive',
  };
}
