/** What rights have in common where rules alone decide. */

import type { AccessRights } from '../../src/protocol/access.ts';

export const ASKS_NOBODY: Pick<AccessRights, 'asks' | 'forget' | 'knows' | 'ask' | 'isUnanswered'> =
  {
    asks: false,
    forget: () => undefined,
    knows: () => true,
    ask: () => Promise.resolve(),
    isUnanswered: false,
  };
