/** The metrics of users and rights: rows of the table in `metric-table.ts`; none without users. */

import { type MetricRow, each, of } from './metric-row.ts';

/** Of a question to a service. */
const OUTCOMES = [
  'allow',
  'deny',
  'ignore',
  'error',
  'timeout',
  'busy',
  'open',
  'remembered',
] as const;

export const ACCESS_METRICS: readonly MetricRow[] = [
  {
    name: 'fluxmq_access_refused_total',
    kind: 'counter',
    help:
      'Clients that were not let in: a user name or password that is wrong, neither of them ' +
      'where they are needed, too many passwords that wait to be checked.',
    series: each('reason', 'access-refused', 'bad-credentials', 'not-authorized', 'busy'),
  },
  {
    name: 'fluxmq_access_token_refused_total',
    kind: 'counter',
    help:
      'JSON web tokens that were refused: no token or too long, an algorithm that is not ' +
      'allowed, no key that fits, a wrong signature, its time is over or has not come, a claim ' +
      'that is wrong or not there.',
    series: each(
      'reason',
      'access-token-refused',
      'form',
      'algorithm',
      'key',
      'signature',
      'time',
      'claim',
    ),
  },
  {
    name: 'fluxmq_access_callout_total',
    kind: 'counter',
    help:
      'Questions to the service of access.callout, by what became of them: its answer, none that ' +
      'is understood, none in time, too many that wait, not asked since it failed too often, ' +
      'answered from memory.',
    series: each('outcome', 'access-callout', ...OUTCOMES),
  },
  {
    name: 'fluxmq_access_callout_waiting',
    kind: 'gauge',
    help: 'Questions to the service of access.callout that wait for their turn.',
    series: of('access/callout-waiting'),
  },
  {
    name: 'fluxmq_access_authorize_total',
    kind: 'counter',
    help:
      'Questions to access.callout.authorize_url, by what became of them, as of ' +
      'fluxmq_access_callout_total.',
    series: each('outcome', 'access-authorize', ...OUTCOMES),
  },
  {
    name: 'fluxmq_access_authorize_waiting',
    kind: 'gauge',
    help: 'Questions to access.callout.authorize_url that wait for their turn.',
    series: of('access/authorize-waiting'),
  },
  {
    name: 'fluxmq_access_denied_total',
    kind: 'counter',
    help: 'What clients asked for and no rule allows.',
    series: each('action', 'access-denied', 'publish', 'subscribe', 'consume', 'declare'),
  },
  {
    name: 'fluxmq_access_withheld_total',
    kind: 'counter',
    help: 'Retained messages and wills of publishers who may not publish them any more.',
    series: of('access/withheld'),
  },
  {
    name: 'fluxmq_access_waiting_checks',
    kind: 'gauge',
    help: 'Passwords and tokens that wait to be checked.',
    series: of('access/waiting'),
  },
];
