/**
 * Looks at messages of a queue without consuming them: those that are still wanted, in order, in
 * parts of a bounded size. What cannot be read is passed over, as is what is gone. Changes nothing
 * but what is in memory.
 */

import type { Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { PeekPart, PeekedBytes } from './admin-requests.ts';
import { PayloadCursor } from './payloads.ts';
import type { Payloads } from './payloads.ts';
import type { RecordLoader } from './record-loader.ts';

export interface PeekerOptions {
  readonly machine: Pick<
    Machine,
    'queueKeys' | 'lowestWanted' | 'nextOffset' | 'wantedKeys' | 'isWanted'
  >;
  readonly loader: Pick<RecordLoader, 'until'>;
  readonly payloads: Pick<Payloads, 'get' | 'fetch'>;
}

/** Offsets whose records are loaded at a time. */
const STRETCH = 4_096;
/** Offsets that one part looks at. */
const LOOKS_MAX = 65_536;
/** A part is closed above this. */
const PART_BYTES_ABOUT = 1 << 20;

export class Peeker {
  readonly #options: PeekerOptions;

  constructor(options: PeekerOptions) {
    this.#options = options;
  }

  async peek(
    queueId: QueueId,
    { from, max }: { readonly from: Offset; readonly max: number },
  ): Promise<PeekPart> {
    const { machine, loader } = this.#options;
    await loader.until(() => machine.queueKeys(queueId));
    const messages: PeekedBytes[] = [];
    const cursor = new PayloadCursor();
    let bytes = 0;
    let at: number = Math.max(from, machine.lowestWanted(queueId) ?? 0);
    const looksEnd = at + LOOKS_MAX;
    while (at < this.#end(queueId)) {
      if (messages.length === max) return { messages, next: undefined };
      if (at >= looksEnd || bytes >= PART_BYTES_ABOUT) return { messages, next: at as Offset };
      const end = Math.min(at + STRETCH, this.#end(queueId));
      await loader.until(() => machine.wantedKeys(queueId, at as Offset, end as Offset));
      // Looked for in one turn, in which no record goes.
      while (at < end && !machine.isWanted(queueId, at as Offset)) at++;
      if (at >= end) continue;
      const stored = await this.#read(queueId, at as Offset, cursor);
      if (stored !== undefined) {
        messages.push({ offset: at as Offset, stored });
        bytes += stored.length;
      }
      at++;
    }
    return { messages, next: undefined };
  }

  #end(queueId: QueueId): number {
    return this.#options.machine.nextOffset(queueId) ?? 0;
  }

  /** Bytes of its own; undefined: it cannot be read. */
  async #read(
    queueId: QueueId,
    offset: Offset,
    cursor: PayloadCursor,
  ): Promise<Uint8Array | undefined> {
    const { payloads } = this.#options;
    for (;;) {
      const found = payloads.get(queueId, offset, cursor);
      if (found === 'lost') return undefined;
      if (found !== 'away') return new Uint8Array(found.bytes.subarray(found.start, found.end));
      const fetched = await payloads.fetch(queueId, offset);
      if (fetched.kind === 'lost') return undefined;
    }
  }
}
