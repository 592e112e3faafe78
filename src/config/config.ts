/**
 * From a file and the command line to a checked configuration, or to every problem that it has.
 *
 * Reads the file once, at the start, synchronously; nothing else here touches the disk.
 */

import { readFileSync } from 'node:fs';
import { Checker } from './check.ts';
import { type MapNode, NO_PLACE, emptyMap, override, readYaml } from './document.ts';
import { type Config, KEYS, type QueueConfig, isLaterKey, nameHere } from './keys.ts';
import { ConfigError, type ConfigProblem } from './problem.ts';
import { CATCH_ALL_QUEUE } from './queue-names.ts';
import { brokenRules } from './rules.ts';

export type { Config, QueueConfig } from './keys.ts';
export { ConfigError } from './problem.ts';
export {
  CATCH_ALL_QUEUE,
  filteredGroupName,
  isDeadLetterQueue,
  queueNameProblem,
} from './queue-names.ts';
export { readPosition } from './positions.ts';
export { isLoopback, writeAddress } from './values.ts';

export interface ConfigSource {
  /** Without one, the defaults hold. */
  readonly file?: { readonly name: string; readonly yaml: string };
  /** `KEY=VALUE`, each on top of what was before. */
  readonly overrides?: readonly string[];
}

const FILE_BYTES_MAX = 4 * 1024 * 1024;

/** Throws a `ConfigError` with every problem. */
export function parseConfig({ file, overrides = [] }: ConfigSource): Config {
  const tree = file === undefined ? emptyMap(NO_PLACE) : readYaml(file.yaml, file.name);
  for (const assignment of overrides) override(tree, assignment);
  return checkTree(tree);
}

/** Throws a `ConfigError` with every problem of a tree, however it was made. */
export function checkTree(tree: MapNode): Config {
  const checker = new Checker({ later: isLaterKey, nameHere });
  // The checker gives what the table says; without a problem it has the table's type.
  const config = checker.section(KEYS, tree, '') as Config;
  const problems =
    checker.problems.length > 0 ? checker.problems : brokenRules(config, checker.places);
  if (problems.length > 0) throw new ConfigError(inOrder(problems));
  return config;
}

/** The queue that always exists, with the default of every limit. */
export function catchAllQueue(): QueueConfig {
  const [queue] = parseConfig({ overrides: [`queues=[{name: ${CATCH_ALL_QUEUE}}]`] }).queues;
  if (queue === undefined) throw new Error('the default of a queue has no problem');
  return queue;
}

function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort(
    (a, b) => a.place.line - b.place.line || a.place.column - b.place.column,
  );
}

/** Reads the file at `path`, if one is given. */
export function loadConfig(path: string | undefined, overrides: readonly string[]): Config {
  if (path === undefined) return parseConfig({ overrides });
  return parseConfig({ file: { name: path, yaml: readText(path) }, overrides });
}

function readText(path: string): string {
  const place = { source: path, line: 0, column: 0 };
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const text = `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new ConfigError([{ code: 'unreadable', place, key: '', text }], { cause });
  }
  if (bytes.length > FILE_BYTES_MAX) {
    const text = 'is larger than 4MiB: this is no configuration';
    throw new ConfigError([{ code: 'unreadable', place, key: '', text }]);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    const text = 'is not UTF-8 text';
    throw new ConfigError([{ code: 'unreadable', place, key: '', text }], { cause });
  }
}
