/**
 * From what senders and the dispatcher ask for to entries of the log: sections with the leader's
 * stamp, collected for one turn, at most `entryBytesMax` an entry (but for one larger message).
 *
 * The commands of a sender's batch go into the entry as they came, behind a header of their own:
 * their bytes are copied once, by the log. Bounded by back-pressure: above `uncommittedBytesMax`
 * the caller is to say `busy` to its senders; what was under way is still taken. Inside the disk's
 * reserve an enqueue becomes a small void with its number, so that the sender hears the refusal and
 * the stream goes on; settlements and releases are taken for as long as the log takes anything. A
 * number is proposed once: the sender's place is kept here, and what comes again is skipped,
 * because its outcome is told when the first is.
 */

import type { VoidReason } from '../machine/command.ts';
import type { LogIndex, Offset, StampMs } from '../machine/ids.ts';
import { STREAM_WINDOW } from '../machine/streams.ts';
import { commandEnd, isEnqueue, writePlainCommand, writeSettle, writeVoid } from './codec.ts';
import type { PlainCommand } from './codec.ts';
import type { SettleProposals, SettleReason, GroupPlace } from './dispatcher.ts';
import { writeSectionHeader } from './entry.ts';
import type { Proposal, ShardEntry, ShardLog } from './shard-log.ts';
import { WireWriter } from './wire.ts';

export interface ProposalsOptions {
  readonly log: Pick<ShardLog, 'propose'>;
  readonly term: number;
  readonly entryBytesMax: number;
  readonly uncommittedBytesMax: number;
  /** True: the disk is inside its reserve, and publishes are refused. */
  readonly inReserve: () => boolean;
  /** With this word. */
  readonly fullReason: VoidReason;
  /** True: publishes wait, although there would be room for them. */
  readonly holdsBack: () => boolean;
  now(): StampMs;
  /** The log took nothing: it failed or is closed. */
  readonly failed: (error: unknown) => void;
}

/** A sender's numbered commands, checked in their form. */
export interface EnqueueBatch {
  readonly boot: number;
  readonly firstNumber: number;
  readonly answeredUpTo: number;
  readonly commands: number;
  /** Belongs to the shard from now on. */
  readonly bytes: Uint8Array;
}

/** All but `taken` consume no number; the sender is out of step, or the shard is gone. */
export type EnqueueAnswer = 'taken' | 'gap' | 'window' | 'stale-boot' | 'unavailable';

interface SenderPlace {
  readonly boot: number;
  next: number;
}

/** A header stands in front of each section; 48 bytes and the node's id. */
const SECTION_OVERHEAD_BYTES = 64;
const HEADER_SLAB_BYTES = 16_384;

export class Proposals implements SettleProposals {
  readonly #options: ProposalsOptions;
  readonly #senders = new Map<string, SenderPlace>();
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #commands = 0;
  #stampMs = 0 as StampMs;
  #headers = new WireWriter(HEADER_SLAB_BYTES);
  #settles = new WireWriter(4096);
  #settleCount = 0;
  #uncommittedBytes = 0;
  /** What the log has put off, in order. */
  #held: Proposal[] = [];
  /** Of the last entry that the log took. */
  #last = 0 as LogIndex;
  #closed = false;

  constructor(options: ProposalsOptions) {
    this.#options = options;
  }

  get uncommittedBytes(): number {
    return this.#uncommittedBytes;
  }

  /** Senders should hold back. */
  get full(): boolean {
    const { uncommittedBytesMax, holdsBack } = this.#options;
    return this.#uncommittedBytes + this.#bytes >= uncommittedBytesMax || holdsBack();
  }

  /** So much is committed again that senders may go on. */
  get drained(): boolean {
    const { uncommittedBytesMax, holdsBack } = this.#options;
    return (this.#uncommittedBytes + this.#bytes) * 2 <= uncommittedBytesMax && !holdsBack();
  }

  /** A stream was opened: its numbers start again at 1, and every lower boot is refused. */
  opened(node: string, boot: number): void {
    this.#senders.set(node, { boot, next: 1 });
  }

  /** A stream that was opened before goes on behind `last`, or behind what is proposed of it. */
  goesOn(node: string, boot: number, last: number): void {
    if (this.#senders.get(node)?.boot !== boot) this.#senders.set(node, { boot, next: last + 1 });
  }

  enqueue(node: string, batch: EnqueueBatch): EnqueueAnswer {
    if (this.#closed) return 'unavailable';
    const sender = this.#senders.get(node);
    if (sender === undefined || batch.boot !== sender.boot) return 'stale-boot';
    if (batch.firstNumber > sender.next) return 'gap';
    let { bytes, commands, firstNumber } = batch;
    const end = firstNumber + commands;
    if (end <= sender.next) return 'taken';
    for (; firstNumber < sender.next; firstNumber++, commands--) {
      bytes = bytes.subarray(commandEnd(bytes, 0));
    }
    if (end - 1 - batch.answeredUpTo > STREAM_WINDOW) return 'window';
    sender.next = end;
    if (this.#options.inReserve()) {
      bytes = withoutEnqueues(bytes, this.#options.fullReason);
    }
    const { boot, answeredUpTo } = batch;
    this.#sections(bytes, { node, boot, firstNumber, answeredUpTo, commands });
    return 'taken';
  }

  settle(of: GroupPlace, offset: Offset, reason: SettleReason): boolean {
    if (this.#closed) return false;
    const { queueId, groupId } = of;
    const { outcome, cause } = reason;
    writeSettle(this.#settles, { queueId, groupId, offset, outcome, cause });
    this.#settleCount++;
    if (this.#settles.length >= this.#options.entryBytesMax) this.submit();
    return true;
  }

  /** A rare command; `node` names the sender whose stream it opens. */
  plain(command: PlainCommand, node: string): boolean {
    if (this.#closed) return false;
    const writer = new WireWriter(256);
    writePlainCommand(writer, command);
    this.#section(writer.written(), {
      node,
      boot: 0,
      firstNumber: 0,
      answeredUpTo: 0,
      commands: 1,
    });
    return true;
  }

  /** A transfer, encoded; its bytes are the log's from now on. False: nothing is taken any more. */
  transfer(bytes: Uint8Array): boolean {
    if (this.#closed) return false;
    this.#section(bytes, { node: '', boot: 0, firstNumber: 0, answeredUpTo: 0, commands: 1 });
    return true;
  }

  /**
   * Hands the collected sections to the log as one entry. The index of the last entry that the log
   * has taken; undefined: what was collected waits, or is lost.
   */
  submit(): LogIndex | undefined {
    if (this.#settleCount > 0) this.#takeSettles();
    this.#propose();
    return this.#closed || this.#held.length > 0 ? undefined : this.#last;
  }

  /** Something waits for the log, which tells nobody when it takes it: `submit` asks again. */
  get isHeld(): boolean {
    return this.#held.length > 0 && !this.#closed;
  }

  committed(entry: ShardEntry): void {
    if (entry.term === this.#options.term) this.#uncommittedBytes -= entry.bytes;
  }

  /** Nothing is taken any more. */
  close(): void {
    this.#closed = true;
  }

  #takeSettles(): void {
    const bytes = this.#settles.written().slice();
    const commands = this.#settleCount;
    this.#settles.length = 0;
    this.#settleCount = 0;
    this.#section(bytes, { node: '', boot: 0, firstNumber: 0, answeredUpTo: 0, commands });
  }

  /** In as many sections as the limit of an entry asks for. */
  #sections(bytes: Uint8Array, place: SectionPlace): void {
    const max = this.#options.entryBytesMax - SECTION_OVERHEAD_BYTES - place.node.length * 3;
    let { firstNumber } = place;
    let left = place.commands;
    let rest = bytes;
    while (rest.length > max && left > 1) {
      let end = commandEnd(rest, 0);
      let commands = 1;
      for (; commands < left; commands++) {
        const next = commandEnd(rest, end);
        if (next > max) break;
        end = next;
      }
      this.#section(rest.subarray(0, end), { ...place, firstNumber, commands });
      rest = rest.subarray(end);
      firstNumber += commands;
      left -= commands;
    }
    if (left > 0) this.#section(rest, { ...place, firstNumber, commands: left });
  }

  #section(bytes: Uint8Array, place: SectionPlace): void {
    const stampMs = this.#options.now();
    const header = this.#header(place, stampMs, bytes.length);
    const size = header.length + bytes.length;
    if (this.#bytes > 0 && this.#bytes + size > this.#options.entryBytesMax) this.#propose();
    this.#parts.push(header, bytes);
    this.#bytes += size;
    this.#commands += place.commands;
    this.#stampMs = stampMs;
  }

  /** In memory that many headers share and that nobody changes once it is written. */
  #header(place: SectionPlace, stampMs: StampMs, commandBytes: number): Uint8Array {
    let slab = this.#headers;
    if (slab.length + SECTION_OVERHEAD_BYTES + place.node.length * 3 > slab.bytes.length) {
      slab = new WireWriter(HEADER_SLAB_BYTES + place.node.length * 3);
      this.#headers = slab;
    }
    const start = slab.length;
    const { node, boot, firstNumber, answeredUpTo, commands } = place;
    writeSectionHeader(slab, {
      node,
      boot,
      firstNumber,
      answeredUpTo,
      stampMs,
      commands,
      commandBytes,
    });
    return new Uint8Array(slab.bytes.buffer, slab.bytes.byteOffset + start, slab.length - start);
  }

  #propose(): void {
    while (this.#held.length > 0 && this.#hand(this.#held[0] as Proposal)) this.#held.shift();
    if (this.#bytes === 0) return;
    const proposal: Proposal = {
      stampMs: this.#stampMs,
      commandCount: this.#commands,
      bytes: this.#bytes,
      payload: this.#parts,
    };
    this.#parts = [];
    this.#bytes = 0;
    this.#commands = 0;
    this.#uncommittedBytes += proposal.bytes;
    if (this.#held.length > 0 || !this.#hand(proposal)) this.#held.push(proposal);
  }

  /** False: it is to be handed over again. */
  #hand(proposal: Proposal): boolean {
    if (this.#closed) return false;
    try {
      const taken = this.#options.log.propose(proposal);
      if (taken === 'held') return false;
      if (taken === 'lost') this.#closed = true;
      else this.#last = taken;
      return true;
    } catch (error) {
      this.#closed = true;
      this.#options.failed(error);
      return true;
    }
  }
}

interface SectionPlace {
  readonly node: string;
  readonly boot: number;
  readonly firstNumber: number;
  readonly answeredUpTo: number;
  readonly commands: number;
}

/** The same numbers, with a void for each enqueue. */
function withoutEnqueues(commands: Uint8Array, reason: VoidReason): Uint8Array {
  const writer = new WireWriter(1024);
  for (let at = 0; at < commands.length;) {
    const end = commandEnd(commands, at);
    if (isEnqueue(commands, at)) writeVoid(writer, reason);
    else writer.append(commands.subarray(at, end));
    at = end;
  }
  return writer.written();
}
