/** How a connection ended, and the line that the log has of it. Nothing of it is kept. */

import type { Logger } from '../../telemetry/logger.ts';
import type { Client, ServerEnding } from './client.ts';
import { expiryAtDisconnect } from './handshake.ts';
import type { MqttOptions } from './options.ts';
import type { DisconnectPacket } from './packet.ts';
import { ReasonCode } from './reason-codes.ts';

export interface Departure {
  /** Why, for people. */
  readonly text: string;
  readonly by: 'client' | 'server' | 'network';
  /** The client goes in peace: what its consumers hold counts as no attempt. */
  readonly returned: boolean;
  /** That of the DISCONNECT, whoever sent it. */
  readonly reasonCode?: number;
  /** What was wrong with the bytes. */
  readonly fault?: string;
  /** Its will is not published. */
  readonly willless?: boolean;
}

/**
 * That of a DISCONNECT, or why it may not be: it asks for what it may not [MQTT-3.14.2-2].
 * `client` undefined: it has no session, and asks for nothing.
 */
export function goodbye(
  { reasonCode, properties }: DisconnectPacket,
  client: Client | undefined,
  options: MqttOptions,
): Departure | ServerEnding {
  const asked = properties?.sessionExpiryInterval;
  if (asked !== undefined && client !== undefined) {
    const expiry = expiryAtDisconnect(asked, client.grant.sessionExpirySeconds, options);
    if (expiry === undefined) {
      const text = 'DISCONNECT with a session expiry after CONNECT had none';
      return { reasonCode: ReasonCode.protocolError, text };
    }
    client.session.expirySeconds = expiry;
  }
  return {
    text: 'DISCONNECT',
    by: 'client',
    // It says that it goes; what it holds it has not processed.
    returned: reasonCode < 0x80,
    reasonCode,
    willless: reasonCode === ReasonCode.success,
  };
}

/** `client` undefined: it was never let in. */
export function logDeparture(
  log: Logger,
  how: Departure,
  { remote, client }: { readonly remote: string; readonly client: Client | undefined },
): void {
  log.info(
    {
      ...(client !== undefined && { client_id: client.session.clientId }),
      remote,
      by: how.by,
      ...(how.reasonCode !== undefined && { reason_code: how.reasonCode }),
      ...(how.fault !== undefined && { fault: how.fault }),
      reason: how.text,
    },
    client === undefined ? 'connection closed before CONNECT' : 'client disconnected',
  );
}
