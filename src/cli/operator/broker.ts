/**
 * What the commands for operators share: which broker is meant, the connection to it, and how a
 * failure ends the process.
 *
 * The gRPC client is loaded at the first call, and what reads a configuration when one is needed,
 * so that help and completion need not wait for either.
 */

import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { AdminClient } from '../../admin/client.ts';
import type { AdminCallErrorCode } from '../../admin/status.ts';
import { AdminError, type AdminRefusal } from '../../broker/ports.ts';
import { collect, readTimeout } from '../client-options.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';

export interface BrokerFlags {
  readonly config?: string;
  readonly data?: string;
  readonly dataDir?: string;
  readonly set?: readonly string[];
  readonly socket?: string;
  readonly timeout: number;
  readonly json?: boolean;
}

const TIMEOUT_MS = 30_000;

export function addBrokerOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'the configuration that the broker was started with')
    .option('-d, --data <dir>', 'the data directory of the broker (data_dir)')
    .addOption(new Option('--data-dir <dir>', 'the same').hideHelp())
    .option('-s, --set <key=value>', 'as for start, repeatable', collect)
    .option('--socket <path>', 'its admin socket (admin.socket)')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for each answer')
        .argParser(readTimeout)
        .default(TIMEOUT_MS, '30s'),
    )
    .option('--json', 'for programs: one JSON object a line');
}

/** Where the socket is, by the same rules as for `start`. */
async function socketPath(flags: Omit<BrokerFlags, 'timeout'>): Promise<string> {
  if (flags.socket !== undefined) return resolve(flags.socket);
  const data = flags.data ?? flags.dataDir;
  const overrides = [...(flags.set ?? [])];
  if (data !== undefined) overrides.push(`data_dir=${JSON.stringify(data)}`);
  const { loadConfig } = await import('../../config/config.ts');
  const { adminOptions } = await import('../../options.ts');
  const config = loadConfig(flags.config, overrides);
  const options = adminOptions(config, resolve(config.data_dir));
  if (options !== undefined) return options.place.path;
  throw new CliError(ExitCode.usage, 'admin.socket is off: this broker takes no commands');
}

/** Runs `work` with a connection, and closes it. */
export async function withBroker<T>(
  flags: BrokerFlags,
  work: (client: AdminClient) => Promise<T>,
): Promise<T> {
  const { AdminClient: Client } = await import('../../admin/client.ts');
  const { AdminCallError } = await import('../../admin/status.ts');
  let client: AdminClient | undefined;
  try {
    client = await Client.open(await socketPath(flags), flags.timeout);
    return await work(client);
  } catch (error) {
    if (error instanceof AdminError) {
      throw new CliError(REFUSALS[error.code], visible(error.message), { cause: error });
    }
    if (!(error instanceof AdminCallError)) throw error;
    const hint = error.code === 'unreachable' && client === undefined ? WHICH : '';
    const text = `${visible(error.message)}${hint}`;
    throw new CliError(CALL_ERRORS[error.code], text, { cause: error });
  } finally {
    client?.close();
  }
}

const WHICH = '\nStart one, or say which one is meant: --data DIR or --config FILE, as for start.';

const REFUSALS = {
  'no-queue': ExitCode.refused,
  'no-group': ExitCode.refused,
  exists: ExitCode.refused,
  invalid: ExitCode.refused,
  unavailable: ExitCode.refused,
} satisfies Record<AdminRefusal, ExitCode>;

const CALL_ERRORS = {
  unreachable: ExitCode.connection,
  timeout: ExitCode.timeout,
  busy: ExitCode.refused,
  'too-large': ExitCode.refused,
  failed: ExitCode.unexpected,
} satisfies Record<AdminCallErrorCode, ExitCode>;
