/**
 * `fluxmq queue declare`: makes a queue, or gives one its limits, by the names, units and checks of
 * the configuration file; its options are made from the same table of keys.
 *
 * A declaration says everything: what it does not name is at its default, also on a queue that is
 * there. So the same command has the same result whenever it is run.
 */

import { Command, Option } from 'commander';
import { AdminError, type QueueDefinition } from '../../broker/ports.ts';
import { collect } from '../client-options.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { differences, limitOptions, type LimitOption } from './limits.ts';
import { print } from './screen.ts';
import { jsonLine } from './told.ts';

type DeclareFlags = BrokerFlags & Readonly<Record<string, unknown>>;

export function declareCommand(): Command {
  const command = addBrokerOptions(new Command('declare'))
    .description('Make a queue, or change the limits of one; what is not named is at its default.')
    .argument('<queue>', 'its name');
  const options = limitOptions();
  for (const option of options) command.addOption(optionOf(option));
  return command.action((name: string, flags: DeclareFlags) => declare(name, flags, options));
}

function optionOf({ flags, key }: LimitOption): Option {
  const about = sentenceOf(key.about);
  switch (key.kind) {
    case 'switch':
      return new Option(flags, about);
    case 'texts':
      return new Option(`${flags} <filter>`, `${about}; repeatable`).argParser(collect);
    case 'choice': {
      const option = new Option(`${flags} <word>`, about);
      // For the help and for completion; the check is that of the configuration.
      option.argChoices = [...key.choices];
      return option;
    }
    case 'text':
      return new Option(`${flags} <name>`, about);
    case 'number':
      return new Option(`${flags} <number>`, about);
    case 'duration':
      return new Option(`${flags} <duration>`, about);
    case 'size':
    case 'address':
      return new Option(`${flags} <size>`, about);
    default:
      return key satisfies never;
  }
}

/** The first sentence of what the configuration says of a key, without its marks. */
function sentenceOf(about: string): string {
  const [first = about] = about.replaceAll('`', '').split(/(?<=[a-z])[.:;] /);
  return first.replace(/[.:]$/, '');
}

async function declare(
  name: string,
  flags: DeclareFlags,
  options: readonly LimitOption[],
): Promise<void> {
  const definition = await definitionOf(name, flags, options);
  await withBroker(flags, async (client) => {
    const before = await client.show(name).catch((error: unknown) => {
      if (error instanceof AdminError && error.code === 'no-queue') return undefined;
      throw error;
    });
    const outcome = await client.declare(definition);
    if (flags.json === true) return print([jsonLine({ queue: name, outcome })]);
    const changes = before === undefined ? [] : differences(before.definition, definition);
    return print([
      `${visible(name)}: ${OUTCOMES[outcome]}`,
      ...changes.map(({ path, from, to }) => `  ${path}: ${visible(from)} -> ${visible(to)}`),
    ]);
  });
}

const OUTCOMES = {
  created: 'created',
  same: 'there already, with these limits',
  updated: 'updated',
} as const;

async function definitionOf(
  name: string,
  flags: DeclareFlags,
  options: readonly LimitOption[],
): Promise<QueueDefinition> {
  const values = new Map<string, string | readonly string[]>();
  for (const { path, attribute } of options) {
    const value = flags[attribute];
    if (value === true) values.set(path, 'true');
    else if (value !== undefined) values.set(path, value as string | readonly string[]);
  }
  const { readQueue } = await import('../../config/written-queue.ts');
  const { queueDefinition } = await import('../../options.ts');
  const read = readQueue(name, values);
  if ('value' in read) return queueDefinition(read.value);
  const lines = read.problems.map(({ path, text }) => {
    const shown = options.find((option) => option.path === path)?.shown ?? 'the name';
    return `${shown}: ${text}`;
  });
  throw new CliError(ExitCode.usage, lines.join('\nfluxmq: '));
}
