/**
 * The command line: parses it, runs one command, ends with the command's exit code.
 *
 * A command is loaded only when it is called, so that a small one need not wait for what the broker
 * is made of.
 */

import { Command, CommanderError } from 'commander';
import { ConfigError } from '../config/problem.ts';
import { COMMANDS, type CommandName, loadCommand } from './commands.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { version } from './version.ts';

async function program(names: readonly CommandName[]): Promise<Command> {
  const root = new Command('fluxmq')
    .description('A message broker whose acknowledged messages survive.')
    .version(version(), '--version')
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .showHelpAfterError('(--help tells the options)')
    .exitOverride();
  for (const name of names) {
    const command = await loadCommand(name);
    root.addCommand(command, { hidden: 'hidden' in COMMANDS[name] });
    withHelp(command);
  }
  return root;
}

function withHelp(command: Command): void {
  command
    .showSuggestionAfterError(true)
    .showHelpAfterError('(--help tells the options)')
    .exitOverride();
  for (const child of command.commands) withHelp(child);
}

/**
 * Every command where it is not clear which one is meant: for help, and for a typing error; none
 * for the version.
 */
function wanted(name: string | undefined): readonly CommandName[] {
  if (name === '--version') return [];
  const all = Object.keys(COMMANDS) as CommandName[];
  const one = all.find((each) => each === name);
  return one === undefined ? all : [one];
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) {
    // commander has told it; help and version are no errors.
    return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
  }
  if (error instanceof ConfigError) {
    process.stderr.write(`The configuration is not usable:\n${error.message}\n`);
    return ExitCode.usage;
  }
  if (error instanceof CliError) {
    process.stderr.write(`fluxmq: ${error.message}\n`);
    return error.exitCode;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`fluxmq: unexpected: ${text}\n`);
  return ExitCode.unexpected;
}

/** Whoever read our output is gone: a broker goes on without, everything else was for him. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (process.argv[2] === 'start') return;
  process.exit(error.code === 'EPIPE' ? ExitCode.ok : ExitCode.unexpected);
});

try {
  const root = await program(wanted(process.argv[2]));
  // A call without a command asks for help, and says so in the exit code.
  if (process.argv.length <= 2) root.help({ error: true });
  await root.parseAsync(process.argv);
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
