/**
 * Declaring queues through the log: proposes what is needed, and matches the machine's answers,
 * which come in the order of the proposals. A declaration is idempotent: what stands there already
 * is left, other limits or topics are updated (and told in a line for the log), another type is
 * refused with the difference.
 */

import { AdminError } from '../broker/ports.ts';
import type { DeclareQueueCommand } from '../machine/command.ts';
import { sameDefinition } from '../machine/definitions.ts';
import type { PlacedDefinition, QueueDefinition } from '../machine/definitions.ts';
import type { QueueRefusal, RareEffect } from '../machine/effect.ts';
import type { Machine } from '../machine/machine.ts';
import type { Declared } from './requests.ts';
import { ShardError } from './shard-error.ts';

export type DeclarationAnswer = Extract<
  RareEffect,
  { readonly kind: 'queue-declared' | 'queue-updated' | 'queue-refused' }
>;

const QUEUE_PREFIX = '$queue/';
/** What a topic may have in UTF-8; its length in characters is the machine's to judge. */
const TOPIC_BYTES_MAX = 65_535;

/** A queue that exists cannot be what was asked for. */
export class DeclarationError extends Error {
  readonly code: 'exists' | 'invalid' | 'elsewhere';

  constructor(code: DeclarationError['code'], message: string) {
    super(message);
    this.name = 'DeclarationError';
    this.code = code;
  }
}

/** The same in the words of a reply; what is something else is as it was. */
export function declarationRefusal(error: unknown): unknown {
  if (!(error instanceof DeclarationError)) return error;
  if (error.code === 'elsewhere') return new ShardError('elsewhere', error.message);
  return new AdminError(error.code, error.message);
}

/** Everything before this term is applied, so nothing that could change it is on its way. */
export function stands(queue: QueueDefinition, machine: Machine): boolean {
  const there = machine.queueNamed(queue.name)?.definition;
  return there !== undefined && sameDefinition(there, queue);
}

/** Does it take what is published to ordinary topics? */
export function capturesOrdinary({ topics }: Pick<QueueDefinition, 'topics'>): boolean {
  return topics.some((topic) => !topic.startsWith(QUEUE_PREFIX));
}

export interface DeclareOutcome {
  readonly outcomes: readonly Declared[];
  /** What changed, for the log. */
  readonly lines: readonly Record<string, unknown>[];
}

interface Waiting {
  readonly resolve: (answer: DeclarationAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class Declarations {
  readonly #waiting: Waiting[] = [];

  async declare(
    queues: readonly PlacedDefinition[],
    machine: Machine,
    propose: (command: DeclareQueueCommand) => void,
  ): Promise<DeclareOutcome> {
    for (const queue of queues) {
      const there = machine.queueNamed(queue.name)?.definition;
      if (there !== undefined && there.type !== queue.type) {
        throw new DeclarationError(
          'exists',
          `queue ${queue.name} exists with type ${String(there.type)}, ` +
            `and is declared with type ${String(queue.type)}`,
        );
      }
    }
    for (const { name, topics } of queues) {
      const long = topics.find((topic) => Buffer.byteLength(topic) > TOPIC_BYTES_MAX);
      if (long === undefined) continue;
      throw new DeclarationError('invalid', `queue ${name} has a topic of over 65,535 bytes`);
    }
    const answers = queues.map((queue) => {
      const answer = new Promise<DeclarationAnswer>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
      });
      // Seen by `Promise.all` below; a proposal that throws before that must not leave it
      // unhandled.
      answer.catch(() => undefined);
      propose({ kind: 'declare-queue', ...queue });
      return answer;
    });
    const outcomes: Declared[] = [];
    const lines: Record<string, unknown>[] = [];
    for (const [at, answer] of (await Promise.all(answers)).entries()) {
      outcomes.push(outcomeOf(answer, (queues[at] as PlacedDefinition).name));
      if (answer.kind !== 'queue-updated') continue;
      const { definition, previous } = answer;
      lines.push(difference(definition.name, previous, definition));
    }
    return { outcomes, lines };
  }

  /** The machine's answer to the oldest declaration; during a replay nobody waits for it. */
  answered(answer: DeclarationAnswer): void {
    // Of another command: a declaration makes the queue that it names.
    if (answer.kind === 'queue-refused' && answer.reason === 'no-queue') return;
    this.#waiting.shift()?.resolve(answer);
  }

  failed(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

function codeOf(reason: QueueRefusal): DeclarationError['code'] {
  if (reason === 'elsewhere') return reason;
  return reason === 'type-differs' ? 'exists' : 'invalid';
}

function outcomeOf(answer: DeclarationAnswer, name: string): Declared {
  switch (answer.kind) {
    case 'queue-declared':
      return answer.created ? 'created' : 'same';
    case 'queue-updated':
      return 'updated';
    case 'queue-refused':
      throw new DeclarationError(
        codeOf(answer.reason),
        `queue ${name} cannot be declared: ${answer.detail}`,
      );
  }
}

/** What another declaration changes, as a line for the log. */
export function difference(
  name: string,
  before: Omit<QueueDefinition, 'name'>,
  after: Omit<QueueDefinition, 'name'>,
): Record<string, unknown> {
  const line: Record<string, unknown> = { queue: name };
  const was = { ...before.limits, topics: before.topics } as Record<string, unknown>;
  for (const [key, value] of Object.entries({ ...after.limits, topics: after.topics })) {
    if (JSON.stringify(was[key]) !== JSON.stringify(value))
      line[key] = { from: was[key], to: value };
  }
  return line;
}
