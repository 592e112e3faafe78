/** `fluxmq completion`: prints what a shell loads so that TAB completes commands and names. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Argument, Command } from 'commander';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export function completionCommand(): Command {
  const how = [
    'Load it for this session, or put the line into the start file of the shell:',
    '  bash   source <(fluxmq completion bash)',
    '  zsh    source <(fluxmq completion zsh)',
    '  fish   fluxmq completion fish | source',
  ];
  return new Command('completion')
    .description('Print the completion script of a shell.')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText('after', `\n${how.join('\n')}`)
    .action((shell: Shell) => {
      const path = join(import.meta.dirname, `../../../completions/fluxmq.${shell}`);
      process.stdout.write(readFileSync(path));
    });
}
