/**
 * `fluxmq complete -- WORD...`: what could stand at the end of these words, for the scripts of
 * `fluxmq completion`. Never fails and never speaks of an error: whoever presses TAB sees nothing
 * rather than that. Asks the broker for a second at most.
 */

import { Command } from 'commander';
import { COMMANDS, type CommandName, loadCommand } from './commands.ts';
import { type CompletionFlags, type Names, candidates } from './completion/candidates.ts';
import { withBroker } from './operator/broker.ts';

const BROKER_MS = 1_000;
const NAMES_MAX = 1_000;

export function completeCommand(): Command {
  return new Command('complete')
    .description('What could follow, for completion scripts.')
    .argument('[words...]', 'behind the name of the program, the last one half or empty')
    .action((words: readonly string[]) => complete(words));
}

async function complete(words: readonly string[]): Promise<void> {
  const found = await candidates(await tree(words), words, names).catch(() => []);
  const lines =
    typeof found === 'string'
      ? [`:${found}`]
      : found.map(({ value, about }) => (about === '' ? value : `${value}\t${about}`));
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

/** The command of the first word, or, while that is being written, all of them. */
async function tree(words: readonly string[]): Promise<Command> {
  const root = new Command('fluxmq').version('', '--version');
  const all = Object.keys(COMMANDS) as CommandName[];
  const named = words.length > 1 ? all.filter((name) => name === words[0]) : all;
  for (const name of named) {
    const command = await loadCommand(name);
    root.addCommand(command, { hidden: 'hidden' in COMMANDS[name] });
  }
  return root;
}

const names: Names = {
  queues: (flags) =>
    ask(flags, async (client) => {
      const queues = await client.list('', NAMES_MAX);
      return queues.map(({ definition }) => definition.name);
    }),
  groups: (flags, queue) =>
    ask(flags, async (client) => (await client.show(queue)).groups.map(({ name }) => name)),
  users: async ({ config, file }) => {
    const { usersOf, usersPath } = await import('./access/users-store.ts');
    const flags = { ...(config !== undefined && { config }), ...(file !== undefined && { file }) };
    return [...(await usersOf(usersPath(flags))).keys()].slice(0, NAMES_MAX);
  },
};

/** Names with a line break could not be told apart. */
async function ask(
  flags: CompletionFlags,
  work: Parameters<typeof withBroker<readonly string[]>>[1],
): Promise<readonly string[]> {
  const { config, data, dataDir, socket } = flags;
  const given = Object.entries({ config, data, dataDir, socket }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  const found = await withBroker({ ...Object.fromEntries(given), timeout: BROKER_MS }, work);
  return found.filter((name) => !/\p{Cc}/u.test(name));
}
