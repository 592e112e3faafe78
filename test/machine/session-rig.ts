/** A shard with a queue of a session, and commands for it in few words. */

import { defaultDefinition } from '../../src/machine/default-definition.ts';
import type { RareEffect } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { MachineDriver } from './machine-driver.ts';

const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;

export class Rig {
  readonly driver = new MachineDriver(4);
  readonly queueId: QueueId;
  #claims = 0;

  constructor() {
    this.queueId = this.declare('$session/c1');
  }

  declare(name: string): QueueId {
    const definition = defaultDefinition(name, 'session');
    const [effect] = this.driver.run({ kind: 'declare-queue', ...definition });
    if (effect?.kind !== 'queue-declared') throw new Error(JSON.stringify(effect));
    return effect.queueId;
  }

  claim(epoch: number, set: object = {}): RareEffect | undefined {
    this.#claims += 1;
    const token = `t${this.#claims}`;
    const of = { queueId: this.queueId, epoch, token, incarnation: `i${this.#claims}` };
    const asked = {
      cleanStart: false,
      user: undefined,
      expirySeconds: 60,
      limits: LIMITS,
      will: undefined,
    };
    return this.last({ kind: 'claim-session', ...of, ...asked, ...set });
  }

  /** The answer to a command of the owner. */
  run(kind: string, ownerEpoch: number, set: object = {}): RareEffect | undefined {
    return this.last({ kind, queueId: this.queueId, ownerEpoch, ...set });
  }

  last(command: object): RareEffect | undefined {
    return this.driver.run(command as never).at(-1) as RareEffect | undefined;
  }

  fire(): RareEffect[] {
    const all: RareEffect[] = [];
    while (this.driver.machine.nextTimer() <= this.driver.now) {
      all.push(...(this.driver.run({ kind: 'fire-timers', max: 100 }) as RareEffect[]));
    }
    return all;
  }

  get topics(): readonly string[] | undefined {
    return this.driver.machine.definition(this.queueId)?.topics;
  }
}
