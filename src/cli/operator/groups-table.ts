/** Groups of queues as a table: for `queue show` and `group list`. */

import type { GroupSummary } from '../../broker/ports.ts';
import type { Column } from '../text/table.ts';
import { count } from '../text/units.ts';

export const GROUP_COLUMNS: readonly Column<GroupSummary>[] = [
  { title: 'GROUP', cut: true, of: ({ name }) => name },
  { title: 'KIND', of: ({ kind }) => kind },
  { title: 'FILTER', cut: true, of: ({ filter }) => (filter === '' ? '-' : filter) },
  { title: 'FLOOR', right: true, of: ({ floor }) => String(floor) },
  { title: 'DEPTH', right: true, of: ({ depth }) => count(depth) },
  { title: 'DELIVERED', right: true, of: ({ delivered }) => count(delivered) },
  { title: 'CONSUMERS', right: true, of: ({ consumers }) => count(consumers) },
  { title: 'STUCK AT', right: true, of: ({ stuck }) => (stuck === undefined ? '-' : `${stuck}`) },
];
