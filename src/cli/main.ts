/** The command line: parses it, runs one command, ends with the command's exit code. */

import { Command, CommanderError } from 'commander';
import { ConfigError } from '../config/config.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { pubCommand } from './pub.ts';
import { segmentDumpCommand } from './segment-dump.ts';
import { startShards } from '../shard-threads.ts';
import { startCommand } from './start.ts';
import { subCommand } from './sub.ts';
import { version } from './version.ts';

/** Every command; each builds its own options. */
const COMMANDS: readonly (() => Command)[] = [
  () => startCommand(startShards),
  pubCommand,
  subCommand,
  segmentDumpCommand,
];

function program(): Command {
  const root = new Command('fluxmq')
    .description('A message broker whose acknowledged messages survive.')
    .version(version(), '--version')
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .showHelpAfterError('(--help tells the options)')
    .exitOverride();
  for (const command of COMMANDS) {
    root.addCommand(command().showSuggestionAfterError(true).exitOverride());
  }
  return root;
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
  const root = program();
  // A call without a command asks for help, and says so in the exit code.
  if (process.argv.length <= 2) root.help({ error: true });
  await root.parseAsync(process.argv);
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
