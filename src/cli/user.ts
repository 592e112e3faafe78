/**
 * `fluxmq user`: the users file (docs/access.md). Asks no broker: one that runs takes the change
 * when it gets SIGHUP. Passwords and what they are known by are never printed.
 */

import { Command } from 'commander';
import { COST_RANGE, makeVerifier } from '../access/verifier.ts';
import { ITERATIONS_RANGE, type ScramKeys, makeScramKeys } from '../access/scram-keys.ts';
import { type User, groupsProblem, scramNameProblem, userNameProblem } from '../access/users.ts';
import { askPassword } from './access/ask-password.ts';
import { type AccessFlags, changeUser, scramOf, usersOf, usersPath } from './access/users-store.ts';
import { collect, wholeNumber } from './client-options.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { print, terminalWidth } from './operator/screen.ts';
import { jsonLine } from './operator/told.ts';
import { visible } from './text/columns.ts';
import { type Column, table } from './text/table.ts';

const RELOAD = 'a broker that runs takes it on SIGHUP';

interface AddFlags extends AccessFlags {
  readonly group?: readonly string[];
  readonly cost: number;
  readonly withoutPassword?: boolean;
  /** Undefined: as configured. */
  readonly scram?: boolean;
  readonly scramIterations?: number;
  readonly replace?: boolean;
}

export function userCommand(): Command {
  return new Command('user')
    .description('Look at and change the users file.')
    .addCommand(addCommand())
    .addCommand(removeCommand())
    .addCommand(listCommand());
}

/** Which users file, of which configuration. */
export function addAccessOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'the configuration that names it (access.users_file)')
    .option('-s, --set <key=value>', 'as for start, repeatable', collect)
    .option('--json', 'for programs: JSON, one line each');
}

function usersCommand(name: string): Command {
  return addAccessOptions(new Command(name)).option('-f, --file <file>', 'the users file itself');
}

function addCommand(): Command {
  const { least, most, usual } = COST_RANGE;
  return usersCommand('add')
    .description('Add a user; the password is asked for, or the first line of standard input.')
    .argument('<user>', 'its name')
    .option('-g, --group <name>', 'a group that it is in, repeatable', collect)
    .option(
      '--cost <n>',
      `how dear a guess is, ${least} to ${most}; one more doubles time and memory`,
      wholeNumber(least, most),
      usual,
    )
    .option('--scram', 'keys of SCRAM-SHA-256 too, also where access.scram is off')
    .option('--no-scram', 'none, also where it is on')
    .option(
      '--scram-iterations <n>',
      'how dear these are for clients and guesses, in place of access.scram.iterations',
      wholeNumber(ITERATIONS_RANGE.least, ITERATIONS_RANGE.most),
    )
    .option('--without-password', 'it comes in with a certificate only')
    .option('--replace', 'it may be there: another password, and groups if any are named')
    .action((name: string, flags: AddFlags) => add(name, flags));
}

async function add(name: string, flags: AddFlags): Promise<void> {
  const problem = userNameProblem(name) ?? groupsProblem(flags.group ?? []);
  if (problem !== undefined) throw new CliError(ExitCode.usage, problem);
  const path = usersPath(flags);
  const known = await usersOf(path);
  const told = visible(name);
  const refuse = (before: User | undefined): void => {
    if (before === undefined || flags.replace === true) return;
    const text = `the user ${told} is there already: say --replace for another password`;
    throw new CliError(ExitCode.refused, text);
  };
  refuse(known.get(name));
  const typed = flags.withoutPassword === true ? undefined : await askPassword(name);
  const password = typed && (await makeVerifier(typed, flags.cost));
  const scram = typed && (await scramKeys(name, typed, flags));
  let isNew = true;
  await changeUser(path, name, (before) => {
    refuse(before);
    isNew = before === undefined;
    const groups = flags.group === undefined ? before?.groups : new Set(flags.group);
    return Promise.resolve({ name, password, scram, groups: groups ?? new Set() });
  });
  const done = isNew ? 'added' : 'replaced';
  await print([
    flags.json === true
      ? jsonLine({ user: name, file: path, result: done })
      : `the user ${told}: ${done}; ${RELOAD}`,
  ]);
}

/** Undefined: it gets none. */
async function scramKeys(
  name: string,
  typed: Uint8Array,
  flags: AddFlags,
): Promise<ScramKeys | undefined> {
  const { enabled, iterations } = scramOf(flags);
  if (!(flags.scram ?? enabled)) return undefined;
  const problem = scramNameProblem(name);
  if (problem !== undefined) throw new CliError(ExitCode.usage, `${problem}: say --no-scram`);
  const text = new TextDecoder().decode(typed);
  const keys = await makeScramKeys(text, flags.scramIterations ?? iterations);
  if (keys !== undefined) return keys;
  const refusal = 'SASLprep refuses the password: it cannot be used with SCRAM: say --no-scram';
  throw new CliError(ExitCode.usage, refusal);
}

function removeCommand(): Command {
  return usersCommand('remove')
    .description('Remove a user.')
    .argument('<user>', 'its name')
    .action(async (name: string, flags: AccessFlags) => {
      const path = usersPath(flags);
      await changeUser(path, name, (before) => {
        if (before !== undefined) return Promise.resolve(undefined);
        throw new CliError(ExitCode.refused, `there is no user ${visible(name)} in ${path}`);
      });
      const isLast = (await usersOf(path)).size === 0;
      const last = isLast ? '. It was the last one: a file without users is refused' : '';
      await print([
        flags.json === true
          ? jsonLine({ user: name, file: path, result: 'removed' })
          : `the user ${visible(name)}: removed; ${RELOAD}${last}`,
      ]);
    });
}

function passwordWord({ password, scram }: User): string {
  const words = [
    ...(password === undefined ? [] : ['set']),
    ...(scram === undefined ? [] : ['scram']),
  ];
  return words.length === 0 ? 'none' : words.join(', ');
}

const COLUMNS: readonly Column<User>[] = [
  { title: 'USER', cut: true, of: ({ name }) => name },
  { title: 'PASSWORD', of: passwordWord },
  { title: 'GROUPS', of: ({ groups }) => [...groups].join(', ') },
];

function listCommand(): Command {
  return usersCommand('list')
    .description('The users, with their groups.')
    .action(async (flags: AccessFlags) => {
      const users = [...(await usersOf(usersPath(flags))).values()];
      if (flags.json === true) {
        await print(
          users.map(({ name, password, scram, groups }) =>
            jsonLine({
              user: name,
              password: password !== undefined,
              scram: scram !== undefined,
              groups: [...groups],
            }),
          ),
        );
        return;
      }
      await print(users.length === 0 ? ['no users'] : table(COLUMNS, users, terminalWidth()));
    });
}
