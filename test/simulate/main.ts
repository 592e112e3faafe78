/**
 * `npm run simulate -- [--seeds N] [--seed N] [--minutes M] [--level host | core]
 * [--machine ledger | queues]`: the simulator, with a plain ledger or the queues of the product on
 * top.
 */

import { simulate } from './command-line.ts';
import { ledgers } from '../../raft/simulation/ledger.ts';
import { queues } from './queue-machine.ts';

process.exitCode = await simulate(process.argv.slice(2), { ledger: ledgers, queues });
