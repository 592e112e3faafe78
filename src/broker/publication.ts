/**
 * A message on its way to live subscribers, or kept as a retained message.
 *
 * The payload may be a view of a receive buffer until somebody keeps it; then it is copied once, for all.
 */

import type { Message } from './message.ts';
import type { Publication } from './ports.ts';

export class LivePublication implements Publication {
  message: Message;
  readonly publishedAtMs: number;
  encodings: (Uint8Array | undefined)[] | undefined = undefined;
  #owned: boolean;

  constructor(message: Message, publishedAtMs: number, owned: boolean) {
    this.message = message;
    this.publishedAtMs = publishedAtMs;
    this.#owned = owned;
  }

  keep(): void {
    if (this.#owned) return;
    this.#owned = true;
    const { message } = this;
    this.message = {
      topic: message.topic,
      payload: message.payload.slice(),
      qos: message.qos,
      retain: message.retain,
      properties: message.properties,
    };
  }
}

/** Seconds that the message may still live: undefined = for ever, 0 = expired. */
export function remainingExpiry(publication: Publication, nowMs: number): number | undefined {
  const seconds = publication.message.properties?.expirySeconds;
  if (seconds === undefined) return undefined;
  const left = seconds - Math.floor((nowMs - publication.publishedAtMs) / 1000);
  return left > 0 ? left : 0;
}

/** What it costs to keep, in bytes, counted with a fixed share for objects. */
export function keptBytes(message: Message): number {
  const { properties } = message;
  let bytes = 256 + message.topic.length * 2 + message.payload.length;
  if (properties === undefined) return bytes;
  bytes += 128 + (properties.correlationId?.length ?? 0);
  bytes += 2 * ((properties.contentType?.length ?? 0) + (properties.replyTo?.length ?? 0));
  for (const [name, value] of properties.userProperties ?? []) {
    bytes += 64 + 2 * (name.length + value.length);
  }
  return bytes;
}
