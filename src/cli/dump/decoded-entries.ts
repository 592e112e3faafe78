/**
 * The commands of an entry, with the offsets that `apply` gave them.
 *
 * Offsets are not in the log: they follow from all entries before. A log that still begins at index
 * 1 is replayed through the machine, so they are shown; of a log whose start has moved up they are
 * not known, and are left out rather than guessed. After damage the replay ends for the same
 * reason.
 */

import { Effects, EffectKind } from '../../machine/effect.ts';
import type { Command } from '../../machine/command.ts';
import { firstQueueIdOf } from '../../machine/ids.ts';
import type { LogIndex, Offset, QueueId } from '../../machine/ids.ts';
import { Machine } from '../../machine/machine.ts';
import { storedMessageStart } from '../../shard/codec.ts';
import { EntryReader } from '../../shard/entry.ts';
import { StoredMessageView } from '../../shard/stored-message.ts';

/** More than any log that is dumped needs at once: the replay keeps what it touched. */
const RESIDENT_RECORDS = 1_000_000;

export interface DumpedMessage {
  readonly topic: string;
  readonly clientId: string;
  readonly publishedAtMs: number;
  readonly payload: Uint8Array;
}

export interface DumpedCommand {
  readonly stampMs: number;
  /** Copied: the command may be kept. */
  readonly command: Command;
  /** Of what stores a message: the offset in each queue that took it; undefined: not known. */
  readonly offsets: ReadonlyMap<QueueId, Offset> | undefined;
  readonly outcome: string | undefined;
  readonly message: DumpedMessage | undefined;
}

export class EntryDecoder {
  readonly #reader = new EntryReader();
  readonly #effects = new Effects();
  #machine: Machine | undefined;

  /** `replayed`: the shard of which the entries come from index 1 on, all of them. */
  constructor(replayed: number | undefined) {
    if (replayed === undefined) return;
    const firstQueueId = firstQueueIdOf(replayed);
    this.#machine = new Machine({ maxResidentRecords: RESIDENT_RECORDS, firstQueueId });
    for (let keys = this.#machine.startKeys(); keys.length > 0; keys = this.#machine.startKeys()) {
      for (const key of keys) this.#machine.load(key, undefined);
    }
  }

  get replays(): boolean {
    return this.#machine !== undefined;
  }

  /** An entry is missing: what follows cannot be counted any more. */
  interrupt(): void {
    this.#machine = undefined;
  }

  queueName(queueId: QueueId): string | undefined {
    return this.#machine?.definition(queueId)?.name;
  }

  /** Throws CodecError where the payload is no entry of ours. */
  decode(index: LogIndex, payload: Uint8Array): DumpedCommand[] {
    const out: DumpedCommand[] = [];
    this.#reader.reset([payload]);
    for (;;) {
      const command = this.#reader.next();
      if (command === undefined) return out;
      const applied = this.#apply(index, command);
      out.push({
        stampMs: this.#reader.stampMs,
        command:
          'targets' in command ? { ...command, targets: [...command.targets] } : { ...command },
        offsets: applied?.offsets,
        outcome: applied?.outcome,
        message: 'targets' in command ? this.#message(payload, this.#reader.position) : undefined,
      });
    }
  }

  #message(payload: Uint8Array, at: number): DumpedMessage {
    const length = Buffer.from(payload.buffer, payload.byteOffset + at, 4).readUInt32LE(0);
    const view = new StoredMessageView(payload, storedMessageStart(payload, at), at + length);
    return {
      topic: view.topic,
      clientId: view.origin.clientId,
      publishedAtMs: view.publishedAtMs,
      payload: view.payload,
    };
  }

  #apply(
    index: LogIndex,
    command: Command,
  ): { readonly offsets: ReadonlyMap<QueueId, Offset>; readonly outcome: string } | undefined {
    const machine = this.#machine;
    if (machine === undefined) return undefined;
    for (
      let keys = machine.keys(command, this.#reader.stampMs);
      keys.length > 0;
      keys = machine.keys(command, this.#reader.stampMs)
    ) {
      for (const key of keys) machine.load(key, undefined);
    }
    const effects = this.#effects;
    effects.clear();
    machine.apply(index, this.#reader.stampMs, command, effects);
    const offsets = new Map<QueueId, Offset>();
    const outcomes: string[] = [];
    for (let at = 0; at < effects.length; at += 1) {
      switch (effects.kind(at)) {
        case EffectKind.enqueued:
          offsets.set(effects.queueId(at), effects.offset(at));
          break;
        case EffectKind.confirmed:
          outcomes.push(effects.outcome(at));
          break;
        case EffectKind.settled:
          outcomes.push(effects.discarded(at) ? 'discarded' : 'settled');
          break;
        case EffectKind.requeued:
          outcomes.push(`requeued after ${effects.attempts(at)}`);
          break;
        case EffectKind.ranged:
          outcomes.push(`settled ${effects.offset(at)} to ${effects.rangeEnd(at)}`);
          break;
        case EffectKind.rare:
          outcomes.push(effects.rare(at).kind);
          break;
      }
    }
    return { offsets, outcome: outcomes.length === 0 ? 'no effect' : outcomes.join(', ') };
  }
}
