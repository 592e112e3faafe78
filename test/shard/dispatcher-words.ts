/**
 * What a dispatcher proposes, in words that a test can compare.
 */

import type { GroupCommand } from '../../src/shard/dispatcher.ts';

export function wordsOf(command: GroupCommand): string {
  switch (command.kind) {
    case 'create-group':
      return `create ${command.groupKind} ${command.name}`;
    case 'delete-group':
      return `delete ${command.groupId}`;
    case 'seek-group':
      return `seek ${command.groupId}`;
    case 'idle-group':
      return `${command.idle ? 'idle' : 'busy'} ${command.groupId}`;
    case 'settle-range':
      return `range/${command.cause} ${command.groupId}:${command.from}-${command.to}`;
  }
}
