/**
 * `fluxmq segment-dump`: what it takes. What reads the files is loaded when it is called, so that
 * help and completion need not wait for it.
 */

import { Command } from 'commander';
import { sequenceNumber } from './client-options.ts';
import type { DumpFlags } from './dump/dump.ts';

export function segmentDumpCommand(): Command {
  return new Command('segment-dump')
    .description(
      'Print what is in a segment, a run, a log or a data directory; exit status 1 on damage.',
    )
    .argument(
      '<path>',
      'a segment (*.log), a run (*.run), the folder of a log or of runs, or a data directory',
    )
    .option('--json', 'one JSON object a line, payloads in base64')
    .option('--payload', 'the payloads of messages too')
    .option(
      '--from <index>',
      'only entries from this log index on; of runs, messages from this offset on',
      sequenceNumber,
    )
    .option(
      '--to <index>',
      'only entries up to this log index; of runs, messages up to this offset',
      sequenceNumber,
    )
    .option('--queue <name>', 'only commands of this queue, by its name or its queueId')
    .option('--verify', 'check everything, print only damage and the decision')
    .action(async (path: string, flags: DumpFlags) => {
      const { Dump } = await import('./dump/dump.ts');
      await new Dump(flags).run(path);
    });
}
