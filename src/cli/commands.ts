/** Every command of the command line, and how each is loaded when it is wanted. */

import type { Command } from 'commander';

interface Loadable {
  /** For people it is none of theirs. */
  readonly hidden?: true;
  load(): Promise<Command>;
}

export const COMMANDS = {
  start: { load: async () => (await import('./start.ts')).startCommand() },
  pub: { load: async () => (await import('./pub.ts')).pubCommand() },
  sub: { load: async () => (await import('./sub.ts')).subCommand() },
  queue: { load: async () => (await import('./queue.ts')).queueCommand() },
  group: { load: async () => (await import('./group.ts')).groupCommand() },
  cluster: { load: async () => (await import('./cluster.ts')).clusterCommand() },
  user: { load: async () => (await import('./user.ts')).userCommand() },
  acl: { load: async () => (await import('./acl.ts')).aclCommand() },
  cert: { load: async () => (await import('./cert.ts')).certCommand() },
  config: { load: async () => (await import('./config.ts')).configCommand() },
  raft: { load: async () => (await import('./raft.ts')).raftCommand() },
  'segment-dump': { load: async () => (await import('./segment-dump.ts')).segmentDumpCommand() },
  completion: { load: async () => (await import('./completion.ts')).completionCommand() },
  complete: { hidden: true, load: async () => (await import('./complete.ts')).completeCommand() },
} as const satisfies Record<string, Loadable>;

export type CommandName = keyof typeof COMMANDS;

export function loadCommand(name: CommandName): Promise<Command> {
  return COMMANDS[name].load();
}
