/**
 * Which members of shares a QoS 2 publish of a durable session is given to: chosen once, and kept
 * with its key until the release, so that a retry, on whichever node, gives it to the same ones and
 * to nobody else (MQTT 5.0 sections 4.3.3 and 4.8.2).
 *
 * Part of the record of a session's keys (`publish-keys.ts`); [packet id, token, share, queueId,
 * ...] for each publish. The token names the attempt that chose, so that the same command applied
 * twice is answered as the first time. That nobody was chosen is kept as well. Bounded:
 * `PUBLISH_CHOICES_MAX` of one publish, `SESSION_CHOICES_MAX` of one session.
 */

import type { QueueId } from './ids.ts';
import { type RecordData, countOf, listOf } from './record-data.ts';

const PUBLISH_CHOICES_MAX = 1_024;
/** Each publish counts as one more: as many as each packet id with one share. */
const SESSION_CHOICES_MAX = 131_072;

export interface ShareChoice {
  /** Names the share, in the words of who chooses; a count. */
  readonly share: number;
  /** Of the member. */
  readonly queueId: QueueId;
}

export interface Choosing {
  /** Of this attempt: a count that no other one has. */
  readonly token: number;
  readonly choices: readonly ShareChoice[];
  /** They take the place of what is kept of the same shares, whose members are gone. */
  readonly isInstead: boolean;
}

export interface Chosen {
  /** This attempt has chosen. */
  readonly isNew: boolean;
  /** What counts. */
  readonly choices: readonly ShareChoice[];
}

interface Kept {
  readonly token: number;
  readonly choices: readonly ShareChoice[];
}

export class KeptChoices {
  readonly #byPacketId = new Map<number, Kept>();
  #units = 0;

  static fromData(data: RecordData | undefined): KeptChoices {
    const kept = new KeptChoices();
    for (const row of listOf(data)) {
      const [packetId, token, ...rest] = listOf(row).map(countOf);
      kept.#put(packetId as number, { token: token as number, choices: choicesOf(rest) });
    }
    return kept;
  }

  get isEmpty(): boolean {
    return this.#byPacketId.size === 0;
  }

  /** Choices, and publishes. */
  get units(): number {
    return this.#units;
  }

  has(packetId: number): boolean {
    return this.#byPacketId.has(packetId);
  }

  /** Undefined: there is no room for them, and nothing is changed. */
  choose(packetId: number, { token, choices, isInstead }: Choosing): Chosen | undefined {
    const before = this.#byPacketId.get(packetId);
    if (before !== undefined && !isInstead) {
      return { isNew: before.token === token, choices: before.choices };
    }
    const byShare = new Map((before?.choices ?? []).map((each) => [each.share, each]));
    for (const each of choices) byShare.set(each.share, each);
    const now = [...byShare.values()];
    const units = this.#units - (before === undefined ? 0 : unitsOf(before)) + now.length + 1;
    if (now.length > PUBLISH_CHOICES_MAX || units > SESSION_CHOICES_MAX) return undefined;
    this.#put(packetId, { token: before?.token ?? token, choices: now });
    return { isNew: !isInstead, choices: now };
  }

  delete(packetId: number): void {
    const kept = this.#byPacketId.get(packetId);
    if (kept === undefined) return;
    this.#byPacketId.delete(packetId);
    this.#units -= unitsOf(kept);
  }

  clear(): void {
    this.#byPacketId.clear();
    this.#units = 0;
  }

  toData(): RecordData {
    const sorted = [...this.#byPacketId].sort(([a], [b]) => a - b);
    return sorted.map(([packetId, { token, choices }]) => {
      return [packetId, token, ...choices.flatMap(({ share, queueId }) => [share, queueId])];
    });
  }

  #put(packetId: number, kept: Kept): void {
    this.delete(packetId);
    this.#byPacketId.set(packetId, kept);
    this.#units += unitsOf(kept);
  }
}

function unitsOf({ choices }: Kept): number {
  return choices.length + 1;
}

/** Share and member, one after the other. */
function choicesOf(numbers: readonly number[]): ShareChoice[] {
  const choices: ShareChoice[] = [];
  for (let at = 0; at + 1 < numbers.length; at += 2) {
    choices.push({ share: numbers[at] as number, queueId: numbers[at + 1] as QueueId });
  }
  return choices;
}
