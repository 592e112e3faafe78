/**
 * `fluxmq acl test`: what the rules say of one wish, and which of them says so. Asks no broker: it
 * reads the files, as a broker would at its start or on SIGHUP.
 */

import { resolve } from 'node:path';
import { Argument, Command } from 'commander';
import { Policy } from '../access/policy.ts';
import { ACTIONS, type Action, decidingRule } from '../access/rules.ts';
import { parseQueueTopic, queueTopic } from '../broker/queue-topic.ts';
import { loadConfig } from '../config/config.ts';
import { type AccessFlags, asUsage } from './access/users-store.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { print } from './operator/screen.ts';
import { jsonLine } from './operator/told.ts';
import { visible } from './text/columns.ts';
import { addAccessOptions } from './user.ts';

interface TestFlags extends AccessFlags {
  readonly users?: string;
  readonly rules?: string;
  readonly clientId: string;
}

/** In place of a user name: a client that does not say who it is. */
const NOBODY = '-';

export function aclCommand(): Command {
  const test = addAccessOptions(new Command('test'))
    .description('Whether a user may do something, and which rule decides.')
    .argument('<user>', 'its name; - for a client without one')
    .addArgument(new Argument('<action>', 'what it wants to do').choices(ACTIONS))
    .argument('<topic>', "where: a topic, a filter, or '$queue/<name>'")
    .option('-i, --client-id <id>', 'its client id, for rules that look at it', '')
    .option('--users <file>', 'the users file, in place of that of the configuration')
    .option('--rules <file>', 'the rules file, in place of that of the configuration')
    .action((...[user, action, topic, flags]: [string, Action, string, TestFlags]) =>
      run({ user: user === NOBODY ? undefined : user, action, topic }, flags),
    );
  return new Command('acl').description('Look at the rules of access.').addCommand(test);
}

interface Wish {
  readonly user: string | undefined;
  readonly action: Action;
  readonly topic: string;
}

async function run(wish: Wish, flags: TestFlags): Promise<void> {
  const { users, rules } = filesOf(flags);
  const policy = await asUsage(Policy.read({ users, rules }));
  const { user } = wish;
  const { action, topic } = asAsked(wish);
  const own = policy.rulesOf({ user, clientId: flags.clientId });
  const rule = decidingRule(own, action, topic);
  const allowed = rule?.allow === true;
  const isKnown = user === undefined || policy.users.has(user);
  if (!allowed) process.exitCode = ExitCode.refused;
  if (flags.json === true) {
    const by = rule && { file: rules, line: rule.line, rule: rule.written };
    await print([jsonLine({ allowed, action, topic, user_known: isKnown, ...by })]);
    return;
  }
  const verdict = allowed ? 'allowed' : 'denied';
  const lines = [
    rule === undefined
      ? `denied: no rule of ${rules} is about it`
      : `${verdict} by ${rules}:${rule.line}: ${visible(rule.written)}`,
  ];
  if (!isKnown) {
    lines.push(`${visible(user)} is no user of the users file: only a certificate lets it in`);
  }
  await print(lines);
}

function filesOf({ config, set, users, rules }: TestFlags): {
  readonly users: string | undefined;
  readonly rules: string;
} {
  const { access } = rules === undefined ? loadConfig(config, set ?? []) : { access: undefined };
  const usersFile = users ?? access?.users_file ?? '';
  const rulesFile = rules ?? access?.rules_file ?? '';
  if (rulesFile === '') {
    const text = 'no rules are named: say --rules, or -c with a configuration that has rules_file';
    throw new CliError(ExitCode.usage, text);
  }
  return {
    users: usersFile === '' ? undefined : resolve(usersFile),
    rules: resolve(rulesFile),
  };
}

/** As the broker asks: of a queue by its name, of a shared subscription by its filter. */
function asAsked({ action, topic }: Wish): { readonly action: Action; readonly topic: string } {
  const filter = topic.replace(/^\$share\/[^/]+\//, '');
  const isQueue = filter.startsWith('$queue/');
  switch (action) {
    case 'subscribe':
      return isQueue ? ofQueue('consume', filter) : { action, topic: filter };
    case 'consume':
    case 'declare':
      return ofQueue(action, isQueue ? filter : queueTopic(topic));
    default:
      return { action, topic };
  }
}

function ofQueue(action: Action, topic: string): { action: Action; topic: string } {
  const name = parseQueueTopic(topic)?.name;
  return { action, topic: name === undefined ? topic : queueTopic(name) };
}
