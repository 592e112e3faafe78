/**
 * Queues that the outbox has by their names alone, and that are not here: asked of shard 0, and of
 * the shard that a name is in; a dead-letter queue that is missing is declared, in the shard of the
 * queue that it is for. Of those that want the same name one asks, and all have its answer in their
 * order.
 *
 * Who asks goes a way about, and by the time that it comes back the queue may be known, so that one
 * behind it would be sent at once: `wouldOvertake` tells, and that one goes the same way.
 */

import { defaultDefinition } from '../machine/default-definition.ts';
import type { DefinedQueue } from '../machine/definition-commands.ts';
import type { PlacedDefinition, QueueDefinition } from '../machine/definitions.ts';
import type { QueueId } from '../machine/ids.ts';
import type { OtherShards } from './other-shards.ts';
import type { Flight, Goal, Question } from './outbox-flights.ts';

/** Where its message goes; `nowhere`: the name is nobody's. */
export type NameAnswer =
  | Exclude<Goal, Question>
  | { readonly kind: 'nowhere' }
  /** To be tried later; a detail is for people. */
  | { readonly kind: 'not-now'; readonly detail: string | undefined };

export interface NamesOptions {
  readonly machine: {
    definition(queueId: QueueId): QueueDefinition | undefined;
    queueNamed(name: string): Pick<DefinedQueue, 'queueId'> | undefined;
  };
  /** Undefined: there are none. */
  readonly others: Pick<OtherShards, 'find' | 'findOrDeclare'> | undefined;
  /** Declares a queue that is missing; rejects when it cannot be. */
  declare(queue: PlacedDefinition): Promise<void>;
}

export class Names {
  readonly #options: NamesOptions;
  readonly #answered: (flight: Flight, answer: NameAnswer) => void;
  /** By question: who asks, and behind it those that wait for the same answer. */
  readonly #asking = new Map<string, Flight[]>();
  /** By name: those that asked for it and are not over, in the order in which they began. */
  readonly #about = new Map<string, Set<Flight>>();

  constructor(options: NamesOptions, answered: (flight: Flight, answer: NameAnswer) => void) {
    this.#options = options;
    this.#answered = answered;
  }

  /** It will ask for this name. */
  begin(flight: Flight, name: string): void {
    flight.name = name;
    const about = this.#about.get(name);
    if (about === undefined) this.#about.set(name, new Set([flight]));
    else about.add(flight);
  }

  /** Its message is where it was to go, or it is put off and begins anew. */
  over(flight: Flight): void {
    const { name } = flight;
    if (name === undefined) return;
    flight.name = undefined;
    const about = this.#about.get(name);
    if (about?.delete(flight) === true && about.size === 0) this.#about.delete(name);
  }

  /**
   * One that came before it asked for the same name, and is not before it in its lane. To be looked
   * at when it is its turn to be sent: those before it have left the lane by then if they ask too.
   */
  wouldOvertake(flight: Flight, name: string): boolean {
    for (const other of this.#about.get(name) ?? []) {
      if (other.intent.number > flight.intent.number) return false;
      if (other.lane !== flight.lane || other.place > flight.place) return true;
    }
    return false;
  }

  async ask(flight: Flight, question: Question): Promise<void> {
    const key = `${question.declares} ${question.name}`;
    const asking = this.#asking.get(key);
    if (asking !== undefined) {
      asking.push(flight);
      return;
    }
    const all = [flight];
    this.#asking.set(key, all);
    const answer = await this.#find(question, flight.intent.queueId);
    this.#asking.delete(key);
    for (const each of all) this.#answered(each, answer);
  }

  async #find({ name, declares }: Question, source: QueueId): Promise<NameAnswer> {
    const { machine, others } = this.#options;
    const known = this.#here(name);
    if (known !== undefined) return known;
    if (others === undefined) return this.#declared({ name, declares }, undefined);
    const near = machine.definition(source)?.name ?? '';
    const found = declares
      ? await others.findOrDeclare(deadLetterQueue(name), near)
      : await others.find(name);
    switch (found.kind) {
      case 'there':
        return found;
      case 'here':
        return this.#declared({ name, declares }, found.placed);
      case 'none':
        return { kind: 'nowhere' };
      case 'not-now':
        return { kind: 'not-now', detail: `the queue ${name} is not found: ${found.detail}` };
    }
  }

  /** Here is where it belongs. */
  async #declared(
    { name, declares }: Pick<Question, 'name' | 'declares'>,
    placed: number | undefined,
  ): Promise<NameAnswer> {
    try {
      if (declares && this.#here(name) === undefined) {
        await this.#options.declare({ ...deadLetterQueue(name), placed });
      }
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return { kind: 'not-now', detail: `${name} cannot be declared: ${detail}` };
    }
    const made = this.#here(name);
    if (made !== undefined) return made;
    return declares ? { kind: 'not-now', detail: undefined } : { kind: 'nowhere' };
  }

  #here(name: string): NameAnswer | undefined {
    const queue = this.#options.machine.queueNamed(name);
    return queue && { kind: 'here', queueIds: [queue.queueId] };
  }
}

/** Not by itself the source of another one: a cycle would declare queues without end. */
function deadLetterQueue(name: string): QueueDefinition {
  const definition = defaultDefinition(name, 'classic');
  return { ...definition, limits: { ...definition.limits, deadLetter: '' } };
}
