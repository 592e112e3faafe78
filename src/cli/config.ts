/** `fluxmq config check`: whether a configuration can be used, without starting anything. */

import { Command } from 'commander';
import { type Config, ConfigError, loadConfig, writeAddress } from '../config/config.ts';
import { writeConfig } from '../config/written.ts';
import { collect } from './client-options.ts';
import { ExitCode } from './exit-codes.ts';
import { print } from './operator/screen.ts';
import { jsonLine } from './operator/told.ts';
import { several } from './text/units.ts';

interface CheckFlags {
  readonly set?: readonly string[];
  readonly show?: boolean;
  readonly json?: boolean;
}

export function configCommand(): Command {
  const check = new Command('check')
    .description('Tell every problem of a configuration, or that it is sound.')
    .argument('<file>', 'configuration in YAML')
    .option('-s, --set <key=value>', 'as for start, repeatable', collect)
    .option('--show', 'print every key with the value in force, as YAML')
    .option('--json', 'for programs: one problem a line, nothing if it is sound')
    .action((file: string, flags: CheckFlags) => run(file, flags));
  return new Command('config').description('Look at a configuration.').addCommand(check);
}

async function run(file: string, flags: CheckFlags): Promise<void> {
  let config: Config;
  try {
    config = loadConfig(file, flags.set ?? []);
  } catch (error) {
    if (!(error instanceof ConfigError) || flags.json !== true) throw error;
    await print(
      error.problems.map(({ code, place, key, text }) =>
        jsonLine({ code, source: place.source, line: place.line, column: place.column, key, text }),
      ),
    );
    process.exitCode = ExitCode.usage;
    return;
  }
  if (flags.show === true) {
    await print([writeConfig(config).trimEnd()]);
  } else if (flags.json !== true) {
    const { addr } = config.server.mqtt.tcp;
    const where = addr === undefined ? 'no MQTT' : `MQTT on ${writeAddress(addr)}`;
    const queues = several(config.queues.length, 'queue');
    await print([`${file} is sound: ${where}, ${queues}, data in ${config.data_dir}`]);
  }
}
