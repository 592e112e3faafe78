/**
 * Where the effects of apply go: to the tail of payloads, the window of the log, the counters, what
 * is kept in order, and to what serves, if this node leads. In the order and in the turn in which
 * they were made; nothing here is state.
 */

import type { Effects, RareEffect } from '../machine/effect.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { ShardMap } from '../machine/shard-map.ts';
import type { AppliedSink } from './applier.ts';
import type { LogWindow } from './log-window.ts';
import type { MessageCounters } from './message-counters.ts';
import type { Payloads } from './payloads.ts';
import type { Serving } from './serving.ts';
import type { ShardEntry } from './shard-log.ts';
import type { ShardLogger } from './shard-logger.ts';

export interface AppliedEffectsOptions {
  readonly payloads: Payloads;
  readonly window: LogWindow;
  readonly messages: MessageCounters;
  readonly logger: ShardLogger;
  serving(): Serving | undefined;
  /** Something was appended to the queue. */
  appended(queueId: QueueId): void;
  /** Something of this queue may be wanted no more. */
  wantsLess(queueId: QueueId): void;
  /** It is another one. */
  shardMap(map: ShardMap): void;
}

export class AppliedEffects implements AppliedSink {
  readonly #options: AppliedEffectsOptions;

  constructor(options: AppliedEffectsOptions) {
    this.#options = options;
  }

  begun(entry: ShardEntry): void {
    this.#options.payloads.applied(entry);
    this.#options.window.begun(entry.index);
  }

  confirmed(effects: Effects, at: number): void {
    this.#options.serving()?.confirmed(effects, at);
  }

  enqueued(queueId: QueueId, offset: Offset, priority: number): void {
    const { messages, window } = this.#options;
    messages.enqueued++;
    window.enqueued();
    this.#options.serving()?.enqueued(queueId, offset, priority);
    this.#options.appended(queueId);
  }

  settled(effects: Effects, at: number): void {
    this.#options.messages.settled(effects, at);
    this.#options.wantsLess(effects.queueId(at));
    this.#options.serving()?.dispatcher.settled(effects, at);
  }

  ranged(effects: Effects, at: number): void {
    this.#options.wantsLess(effects.queueId(at));
    this.#options.serving()?.dispatcher.ranged(effects, at);
  }

  requeued(effects: Effects, at: number): void {
    this.#options.messages.requeued++;
    this.#options.serving()?.dispatcher.requeued(effects, at);
  }

  rare(effect: RareEffect): void {
    const { messages, logger } = this.#options;
    const serving = this.#options.serving();
    messages.rare(effect);
    switch (effect.kind) {
      case 'queue-deleted':
      case 'start-raised':
      case 'group-deleted':
      case 'group-sought':
        this.#options.wantsLess(effect.queueId);
        break;
      case 'intent-closed': {
        const source = serving?.sourceOf(effect.intent);
        if (source !== undefined) this.#options.wantsLess(source);
        break;
      }
      case 'shard-map-set':
        if (effect.changed) this.#options.shardMap(effect.map);
        break;
      case 'version-set':
      case 'version-refused':
        logger.info({ ...effect }, 'rules of the state machine');
        break;
      default:
    }
    serving?.rare(effect);
  }
}
