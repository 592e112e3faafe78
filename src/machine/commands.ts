/**
 * What each command needs, and what it does: from here to the file that knows.
 *
 * The two commands of every message, `enqueue` and `settle`, are looked at first and cost no list
 * and no object while what they need is in memory.
 */

import type {
  Command,
  EnqueueCommand,
  ReleaseCommand,
  SettleCommand,
  SetVersionCommand,
  VoidCommand,
} from './command.ts';
import type { Definitions } from './definition-commands.ts';
import { Effects } from './effect.ts';
import { enqueueNeeds } from './enqueue.ts';
import type { GroupId, QueueId } from './ids.ts';
import type { ApplyContext, NeedsContext, Parts } from './parts.ts';
import { applyPlacing, elsewhereProblem } from './place-commands.ts';
import { publish, publishNeeds } from './publish.ts';
import type { QueueState } from './queue.ts';
import { applyToQueue, applyWithoutQueue, queueCommandNeeds } from './queue-commands.ts';
import { type RecordKey, queueKey } from './record-data.ts';
import type { Senders } from './senders.ts';
import { type SessionCommand, isOfSession } from './session-command.ts';
import {
  applyToSession,
  forgetSession,
  forgetSessionNeeds,
  sessionNeeds,
} from './session-commands.ts';
import { isSettleReady, settle, settleNeeds } from './settlement.ts';
import {
  applyToShard,
  forgetQueue,
  forgetQueueNeeds,
  redefineNeeds,
  redefined,
  shardCommandNeeds,
} from './shard-commands.ts';
import { outcomeCode } from './streams.ts';
import { type Meta, isVersionAllowed } from './version.ts';

const NONE: readonly RecordKey[] = Object.freeze([]);
const ACCEPTED = outcomeCode('accepted');
const STALE_OWNER = outcomeCode('stale-owner');

type OtherCommand = Exclude<Command, EnqueueCommand | SettleCommand | SessionCommand>;
type Changing<T> = { -readonly [Key in keyof T]: T[Key] };

export class Commands {
  readonly #definitions: Definitions;
  readonly #senders: Senders;
  readonly #parts: Parts;
  /** One of each, for all commands. */
  readonly #needs: Changing<NeedsContext>;
  readonly #context: Changing<ApplyContext>;
  /** Filled anew for each publish. */
  readonly #missing: RecordKey[] = [];

  constructor(definitions: Definitions, senders: Senders, parts: Parts) {
    this.#definitions = definitions;
    this.#senders = senders;
    this.#parts = parts;
    this.#needs = { queues: definitions, parts, stamp: 0, keys: [] };
    this.#context = { queues: definitions, parts, stamp: 0, effects: new Effects() };
  }

  /** What the command needs and is not resident. */
  keys(command: Command, stamp: number): readonly RecordKey[] {
    this.#needs.stamp = stamp;
    if (command.kind === 'enqueue') return this.#enqueueKeys(command);
    if (command.kind === 'settle') return this.#settleKeys(command);
    const keys: RecordKey[] = [];
    this.#needs.keys = keys;
    if (isOfSession(command)) sessionNeeds(command, this.#needs);
    else this.#addKeys(command, this.#needs);
    return keys.length === 0 ? NONE : keys;
  }

  /** All that the command needs is resident; the stamp is that of `meta`. */
  apply(command: Command, meta: Meta, effects: Effects): void {
    const context = this.#context;
    context.stamp = meta.lastStamp;
    context.effects = effects;
    if (command.kind === 'enqueue') {
      this.#enqueue(command, context);
    } else if (command.kind === 'settle') {
      const state = this.#definitions.get(command.queueId);
      if (state !== undefined) settle(state, command, context);
    } else if (isOfSession(command)) {
      applyToSession(command, { ...context, definitions: this.#definitions, meta });
    } else {
      this.#apply(command, meta, context);
    }
    const { lostGroups } = this.#parts;
    if (!lostGroups.isEmpty) lostGroups.review(this, effects);
  }

  /** Undefined: the group is not in memory. */
  floorOf(queueId: QueueId, groupId: GroupId): number | undefined {
    const group = this.#definitions.get(queueId)?.group(groupId);
    return group?.isResident === true ? group.floor : undefined;
  }

  #addKeys(command: OtherCommand, needs: NeedsContext): void {
    switch (command.kind) {
      case 'void':
      case 'open-stream':
        this.#addSender(command.node, needs.keys);
        return;
      case 'release':
        this.#addSender(command.node, needs.keys);
        needs.parts.publishKeys.needs(command.key.session, needs.keys);
        return;
      case 'delete-queue': {
        const state = this.#definitions.get(command.queueId);
        if (state === undefined) return;
        state.missing(needs.keys);
        forgetQueueNeeds(command, needs);
        forgetSessionNeeds(command, needs);
        return;
      }
      case 'declare-queue':
      case 'update-queue': {
        const state = this.#stateOf(command);
        if (state !== undefined) redefineNeeds(state, command, needs);
        return;
      }
      case 'settle-range':
      case 'create-group':
      case 'delete-group':
      case 'seek-group':
      case 'idle-group':
      case 'retain': {
        const state = this.#definitions.get(command.queueId);
        if (state !== undefined) queueCommandNeeds(state, command, needs);
        return;
      }
      case 'fire-timers':
      case 'transfer':
      case 'skip-intent':
      case 'route-intent':
      case 'end-route':
      case 'take-transfer':
      case 'move-range':
      case 'end-session':
        shardCommandNeeds(command, needs);
        return;
      case 'set-version':
      case 'place-queue':
      case 'unplace-queue':
      case 'fence-names':
      case 'add-shard':
      case 'host-shard':
      case 'unhost-shard':
        return;
    }
  }

  #apply(command: OtherCommand, meta: Meta, context: ApplyContext): void {
    const { effects } = context;
    switch (command.kind) {
      case 'void':
        this.#void(command, effects);
        return;
      case 'release':
        this.#release(command, effects);
        return;
      case 'open-stream':
        this.#senders.open(command.node, effects);
        return;
      case 'declare-queue':
      case 'update-queue':
        this.#define(command, meta, context);
        return;
      case 'delete-queue': {
        const type = this.#definitions.definition(command.queueId)?.type;
        this.#definitions.remove(command, meta, effects);
        if (type !== undefined) forgetQueue(command, context);
        if (type === 'session') forgetSession(command.queueId, context);
        return;
      }
      case 'settle-range':
      case 'create-group':
      case 'delete-group':
      case 'seek-group':
      case 'idle-group':
      case 'retain': {
        const state = this.#definitions.get(command.queueId);
        if (state === undefined) applyWithoutQueue(command, effects);
        else applyToQueue(state, command, context);
        return;
      }
      case 'fire-timers':
      case 'transfer':
      case 'skip-intent':
      case 'route-intent':
      case 'end-route':
      case 'take-transfer':
      case 'move-range':
      case 'end-session':
        applyToShard(command, context);
        return;
      case 'set-version':
        setVersion(command, meta, effects);
        return;
      case 'place-queue':
      case 'unplace-queue':
      case 'fence-names':
      case 'add-shard':
      case 'host-shard':
      case 'unhost-shard':
        applyPlacing(command, { defined: this.#definitions, parts: this.#parts }, effects);
        return;
    }
  }

  #addSender(node: string, keys: RecordKey[]): void {
    const missing = this.#senders.missing(node);
    if (missing !== undefined) keys.push(missing);
  }

  #enqueueKeys(command: EnqueueCommand): readonly RecordKey[] {
    const missing = this.#missing;
    // Setting a length that is right already costs too.
    if (missing.length > 0) missing.length = 0;
    this.#needs.keys = missing;
    const stream = this.#senders.missing(command.node);
    if (stream !== undefined) missing.push(stream);
    const { targets, options } = command;
    for (let i = 0; i < targets.length; i += 1) {
      const state = this.#definitions.get(targets[i] as QueueId);
      if (state === undefined) continue;
      if (!state.use()) missing.push(queueKey(state.queueId));
      else if (options !== undefined || !state.isPlain) enqueueNeeds(state, command, this.#needs);
    }
    if (options !== undefined) publishNeeds(command, this.#needs);
    return missing.length === 0 ? NONE : [...missing];
  }

  #settleKeys(command: SettleCommand): readonly RecordKey[] {
    const state = this.#definitions.get(command.queueId);
    if (state === undefined || isSettleReady(state, command)) return NONE;
    const keys: RecordKey[] = [];
    settleNeeds(state, command, keys);
    return keys.length === 0 ? NONE : keys;
  }

  #enqueue(command: EnqueueCommand, context: ApplyContext): void {
    const { effects } = context;
    const stream = this.#senders.inTurn(command, effects);
    if (stream === undefined) return;
    const outcome = publish(command, context);
    if (outcome === ACCEPTED) stream.accept();
    else stream.refuse(outcome);
    effects.addConfirmed(command, outcome);
  }

  #void(command: VoidCommand, effects: Effects): void {
    const stream = this.#senders.inTurn(command, effects);
    if (stream === undefined) return;
    const code = outcomeCode(command.reason);
    stream.refuse(code);
    effects.addConfirmed(command, code);
  }

  #release(command: ReleaseCommand, effects: Effects): void {
    const stream = this.#senders.inTurn(command, effects);
    if (stream === undefined) return;
    const isDone = this.#parts.publishKeys.release(command.key);
    if (isDone) stream.accept();
    else stream.refuse(STALE_OWNER);
    effects.addConfirmed(command, isDone ? ACCEPTED : STALE_OWNER);
  }

  #define(
    command: Extract<Command, { kind: 'declare-queue' | 'update-queue' }>,
    meta: Meta,
    context: ApplyContext,
  ): void {
    const there = this.#stateOf(command);
    if (command.kind === 'declare-queue' && there === undefined) {
      const detail = elsewhereProblem(command, this.#parts);
      if (detail !== undefined) {
        context.effects.addRare({ kind: 'queue-refused', reason: 'elsewhere', detail });
        return;
      }
    }
    const before = there?.definition.limits.retention;
    if (command.kind === 'declare-queue') {
      this.#definitions.declare(command, meta, context.effects);
    } else {
      this.#definitions.update(command, context.effects);
    }
    // One that is idle was made for that call alone, and knows nothing of the change.
    const state = this.#stateOf(command);
    if (state !== undefined && before !== undefined) redefined(state, before, context);
  }

  #stateOf(
    command: Extract<Command, { kind: 'declare-queue' | 'update-queue' }>,
  ): QueueState | undefined {
    if (command.kind === 'update-queue') return this.#definitions.get(command.queueId);
    const there = this.#definitions.named(command.name);
    return there === undefined ? undefined : this.#definitions.get(there.queueId);
  }
}

function setVersion(command: SetVersionCommand, meta: Meta, effects: Effects): void {
  const { version } = command;
  if (isVersionAllowed(version, meta.version)) {
    meta.version = version;
    effects.addRare({ kind: 'version-set', version });
  } else {
    effects.addRare({ kind: 'version-refused', version, inForce: meta.version });
  }
}
