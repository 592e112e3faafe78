/**
 * What could stand where the cursor is in a command line: subcommands, options, their words, and
 * names that only the broker knows. It follows the commands as they are defined, so that no list of
 * theirs has to be kept. Knows no shell; asks no broker itself.
 */

import type { Command, Option } from 'commander';

export interface Candidate {
  readonly value: string;
  readonly about: string;
}

/** Asked only where such a name is wanted. */
export interface Names {
  queues(flags: CompletionFlags): Promise<readonly string[]>;
  groups(flags: CompletionFlags, queue: string): Promise<readonly string[]>;
  /** Of a users file, which needs no broker. */
  users(flags: CompletionFlags): Promise<readonly string[]>;
}

/** Those options of the line, up to the cursor, that say which broker is meant. */
export type CompletionFlags = Readonly<Record<string, string | undefined>>;

/** `files` and `folders`: the shell knows them better. */
export type Completion = readonly Candidate[] | 'files' | 'folders';

interface Line {
  readonly command: Command;
  /** What stands before the cursor: the arguments of the command. */
  readonly given: readonly string[];
  readonly flags: CompletionFlags;
  /** The option whose value the cursor is at. */
  readonly pending: Option | undefined;
  /** Behind `--` everything is an argument. */
  readonly ended: boolean;
}

/** `words`: behind the name of the program, up to the cursor; the last may be empty or half. */
export async function candidates(
  root: Command,
  words: readonly string[],
  names: Names,
): Promise<Completion> {
  const line = readLine(root, words.slice(0, -1));
  const current = words.at(-1) ?? '';
  const { command, pending, ended } = line;
  if (pending !== undefined)
    return startingWith(await valuesOf(slotOf(pending), line, names), current);
  const [, flag = '', written = ''] = /^(--[^=]+)=(.*)$/s.exec(current) ?? [];
  const option = ended ? undefined : optionOf(command, flag);
  if (option !== undefined && takesValue(option)) {
    const found = startingWith(await valuesOf(slotOf(option), line, names), written);
    if (typeof found === 'string') return found;
    return found.map(({ value, about }) => ({ value: `${flag}=${value}`, about }));
  }
  if (!ended && current.startsWith('-')) return startingWith(optionsOf(command), current);
  if (command.commands.length > 0) {
    return line.given.length > 0 ? [] : startingWith(commandsOf(command), current);
  }
  const argument = command.registeredArguments[line.given.length];
  if (argument === undefined) return [];
  const slot = { name: argument.name(), choices: argument.argChoices };
  return startingWith(await valuesOf(slot, line, names), current);
}

/** Where a value belongs: an argument by its name, an option by its attribute. */
interface Slot {
  readonly name: string;
  readonly choices: readonly string[] | undefined;
}

function slotOf(option: Option): Slot {
  return { name: option.attributeName(), choices: option.argChoices };
}

function readLine(root: Command, words: readonly string[]): Line {
  let command = root;
  let pending: Option | undefined;
  let ended = false;
  const given: string[] = [];
  const flags: Record<string, string> = {};
  for (const word of words) {
    if (pending !== undefined) {
      flags[pending.attributeName()] = word;
      pending = undefined;
    } else if (!ended && word === '--') {
      ended = true;
    } else if (!ended && word.startsWith('-')) {
      const [flag = word, ...value] = word.split('=');
      const option = optionOf(command, flag);
      if (option === undefined || !takesValue(option)) continue;
      if (value.length > 0) flags[option.attributeName()] = value.join('=');
      // The value of an optional one is never a word of its own here: it may be left out.
      else if (option.required) pending = option;
    } else {
      const child = command.commands.find((each) => each.name() === word);
      if (child === undefined) given.push(word);
      else command = child;
    }
  }
  return { command, given, flags, pending, ended };
}

function optionOf(command: Command, flag: string): Option | undefined {
  return command.options.find(({ long, short }) => flag === long || flag === short);
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

async function valuesOf({ name, choices }: Slot, line: Line, names: Names): Promise<Completion> {
  if (choices !== undefined) return plain(choices);
  switch (name) {
    case 'queue':
    case 'to':
      return plain(await names.queues(line.flags));
    case 'dlq':
      return plain(['auto', 'off', ...(await names.queues(line.flags))]);
    case 'group':
      return plain(await names.groups(line.flags, line.given[0] ?? ''));
    case 'user':
      return plain(await names.users(line.flags));
    case 'position':
      return plain(['first', 'last', 'next']);
    case 'config':
    case 'file':
    case 'path':
    case 'passwordFile':
    case 'rules':
    case 'socket':
    case 'users':
      return 'files';
    case 'data':
    case 'dataDir':
    case 'dir':
      return 'folders';
    default:
      return [];
  }
}

function plain(values: readonly string[]): Candidate[] {
  return values.map((value) => ({ value, about: '' }));
}

function optionsOf(command: Command): Candidate[] {
  const shown = command.createHelp().visibleOptions(command);
  return shown.flatMap(({ long, short, description }) =>
    [short, long].flatMap((flag) =>
      // `--ttl, --message-ttl`: one of two long ones is enough.
      flag === undefined || (flag === long && short?.startsWith('--') === true)
        ? []
        : [{ value: flag, about: description }],
    ),
  );
}

function commandsOf(command: Command): Candidate[] {
  const shown = command.createHelp().visibleCommands(command);
  return shown.map((each) => ({ value: each.name(), about: each.description() }));
}

function startingWith(found: Completion, prefix: string): Completion {
  if (typeof found === 'string') return found;
  return found.filter(({ value }) => value.startsWith(prefix));
}
