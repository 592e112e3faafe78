/**
 * `fluxmq start`: what it takes. The broker itself is loaded when the configuration is right, so
 * that help, completion and a wrong configuration need not wait for it.
 */

import { Command, Option } from 'commander';
import { collect } from './client-options.ts';

interface StartFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly data?: string;
  readonly set?: readonly string[];
}

export function startCommand(): Command {
  return new Command('start')
    .description('Run a broker.')
    .option('-c, --config <file>', 'configuration in YAML; every default without one')
    .option('-d, --data-dir <dir>', 'where the data is (data_dir)')
    .addOption(new Option('--data <dir>', 'the same, as for queue and group').hideHelp())
    .option('-s, --set <key=value>', 'set one key, repeatable: log.level=debug', collect)
    .action((flags: StartFlags) => start(flags));
}

async function start(flags: StartFlags): Promise<void> {
  const overrides = [...(flags.set ?? [])];
  // Quoted, so that YAML takes it as the text that it is.
  const data = flags.dataDir ?? flags.data;
  if (data !== undefined) overrides.push(`data_dir=${JSON.stringify(data)}`);
  const { loadConfig } = await import('../config/config.ts');
  const config = loadConfig(flags.config, overrides);
  const { runBroker } = await import('./run-broker.ts');
  await runBroker(config);
}
