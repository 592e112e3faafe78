/**
 * The rules: who may do what where, in the order in which they are asked (docs/access.md).
 *
 *     allow|deny   WHO                                   ACTIONS            PATTERN...
 *                  * | anonymous                         publish,subscribe  $queue/orders/#
 *                  | (user NAME|group NAME|client ID)+   *                  *
 *
 * The first rule that means the client, the action and the topic decides. What no rule means is
 * denied. A subscription is allowed by a rule that covers its filter whole, and denied by one that
 * has a topic in common with it, so that no topic reaches anybody past the rule that denies it.
 */

import { type AccessFile, AccessFileError, eachLine, readText } from './lines.ts';
import {
  type Names,
  type Pattern,
  covers,
  hasNames,
  overlaps,
  parsePattern,
  withNames,
} from './pattern.ts';

export const ACTIONS = ['publish', 'subscribe', 'consume', 'declare', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

export interface Rule {
  readonly line: number;
  /** As it stands in the file, but for spaces. */
  readonly written: string;
  readonly allow: boolean;
  readonly who: readonly Condition[];
  readonly actions: ReadonlySet<string>;
  readonly patterns: readonly Pattern[];
}

/** All of them hold, or the rule does not mean the client. */
export type Condition =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user' | 'group' | 'client'; readonly name: string };

export interface Subject extends Names {
  readonly groups: ReadonlySet<string>;
}

/** A rule as it is for one client. */
export interface OwnRule {
  readonly rule: Rule;
  readonly patterns: readonly Pattern[];
}

const RULES_BYTES_MAX = 1024 * 1024;
/** Asked one after the other. */
const PATTERNS_MAX = 2000;

/** Rejects with an `AccessFileError`. */
export async function readRules(path: string): Promise<Rule[]> {
  const file = { key: 'access.rules_file', path, maxBytes: RULES_BYTES_MAX };
  const text = await readText(file);
  const rules: Rule[] = [];
  let patterns = 0;
  await eachLine(file, text, ({ number, words }) => {
    const parsed = parseRule(words, number);
    if (typeof parsed === 'string') throw new AccessFileError(file, parsed, { line: number });
    patterns += parsed.patterns.length;
    if (patterns > PATTERNS_MAX) throw tooMany(file, number);
    rules.push(parsed);
  });
  if (rules.length === 0) {
    throw new AccessFileError(file, 'has no rule: nobody could do anything');
  }
  return rules;
}

function tooMany(file: AccessFile, line: number): AccessFileError {
  return new AccessFileError(file, `more than ${PATTERNS_MAX} patterns in all`, { line });
}

/** A sentence for whoever wrote it where it is no rule. */
export function parseRule(words: readonly string[], line: number): Rule | string {
  const [verdict, ...rest] = words;
  if (verdict !== 'allow' && verdict !== 'deny') return 'a rule begins with allow or deny';
  const who = whoOf(rest);
  if (typeof who === 'string') return who;
  const [actionWord = '', ...written] = rest.slice(who.words);
  const actions = actionsOf(actionWord);
  if (typeof actions === 'string') return actions;
  if (written.length === 0) return 'a rule ends with the topics that it is about';
  const patterns: Pattern[] = [];
  for (const each of written) {
    const pattern = parsePattern(each);
    if (pattern === undefined) return 'a pattern has # or + not alone in its level, or NUL';
    const isExplicit = actionWord !== '*';
    const ofQueue = actions.has('consume') || actions.has('declare');
    if (isExplicit && ofQueue && !namesQueues(pattern)) return QUEUE_RULE;
    patterns.push(pattern);
  }
  const { conditions } = who;
  const shown = words.join(' ');
  return {
    line,
    written: shown,
    allow: verdict === 'allow',
    who: conditions,
    actions,
    patterns,
  };
}

const WHO_RULE =
  'behind it stands who is meant: *, anonymous, or user, group, client with a name each';
const QUEUE_RULE =
  'consume and declare are about whole queues: write $queue/<name>, with wildcards or not, or *';

function whoOf(
  words: readonly string[],
): { readonly conditions: readonly Condition[]; readonly words: number } | string {
  const [first] = words;
  if (first === '*') return { conditions: [], words: 1 };
  if (first === 'anonymous') return { conditions: [{ kind: 'anonymous' }], words: 1 };
  const conditions: Condition[] = [];
  let at = 0;
  for (;;) {
    const kind = words[at];
    if (kind !== 'user' && kind !== 'group' && kind !== 'client') break;
    const name = words[at + 1];
    if (name === undefined || name === '') return `a name belongs behind ${kind}`;
    if (conditions.some((each) => each.kind === kind)) return `${kind} is there twice`;
    conditions.push({ kind, name });
    at += 2;
  }
  return conditions.length === 0 ? WHO_RULE : { conditions, words: at };
}

function actionsOf(word: string): ReadonlySet<string> | string {
  if (word === '*') return new Set(ACTIONS);
  const actions = word.split(',');
  const unknown = actions.find((each) => !ACTIONS.some((action) => action === each));
  if (unknown !== undefined) {
    return `then the actions, with commas: ${ACTIONS.join(', ')}, or *`;
  }
  return new Set(actions);
}

/** `$queue/<name>`, `$queue/$dlq/<name>`, with or without `/#` behind it. */
function namesQueues({ all, levels }: Pattern): boolean {
  if (all) return true;
  const named = levels.at(-1) === '#' ? levels.slice(0, -1) : levels;
  if (named[0] !== '$queue') return false;
  return named.length <= (named[1] === '$dlq' ? 3 : 2);
}

/** Those that mean the client, in order. What they have in common is shared. */
export function ownRules(rules: readonly Rule[], subject: Subject): OwnRule[] {
  const own: OwnRule[] = [];
  for (const rule of rules) {
    if (!rule.who.every((condition) => holds(condition, subject))) continue;
    const { allow } = rule;
    const patterns = rule.patterns.some(hasNames)
      ? rule.patterns.flatMap((pattern) => withNames(pattern, subject, allow) ?? [])
      : rule.patterns;
    if (patterns.length > 0) own.push({ rule, patterns });
  }
  return own;
}

function holds(condition: Condition, { user, clientId, groups }: Subject): boolean {
  switch (condition.kind) {
    case 'anonymous':
      return user === undefined;
    case 'user':
      return user === condition.name;
    case 'group':
      return groups.has(condition.name);
    case 'client':
      return condition.name === '%u' ? clientId === user : clientId === condition.name;
    default:
      return condition satisfies never;
  }
}

/** The rule that decides; undefined: none, and so it is denied. `topic` may be a filter. */
export function decidingRule(
  own: readonly OwnRule[],
  action: Action,
  topic: string,
): Rule | undefined {
  for (const { rule, patterns } of own) {
    if (!rule.actions.has(action)) continue;
    const means = rule.allow ? covers : overlaps;
    for (const pattern of patterns) if (means(pattern, topic)) return rule;
  }
  return undefined;
}
