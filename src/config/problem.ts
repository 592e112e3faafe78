/**
 * What is wrong with a configuration: each problem with its place, its key, what is wrong and what
 * to do. All of them are told at once. A value is quoted only as far as a line goes.
 */

export const CONFIG_ERROR_CODES = [
  'unreadable',
  'syntax',
  'unknown-key',
  'not-available',
  'wrong-value',
  'conflict',
] as const;

export type ConfigErrorCode = (typeof CONFIG_ERROR_CODES)[number];

/** `line` and `column` count from 1; 0 where the source has no lines (`--set`, a default). */
export interface Place {
  readonly source: string;
  readonly line: number;
  readonly column: number;
}

export interface ConfigProblem {
  readonly code: ConfigErrorCode;
  readonly place: Place;
  /** Dotted, such as `server.mqtt.tcp.addr`; empty where the file as a whole is meant. */
  readonly key: string;
  readonly text: string;
}

/** Adds a problem; `key` as in a `ConfigProblem`. */
export type Tell = (code: ConfigErrorCode, key: string, text: string) => void;

function writePlace({ source, line, column }: Place): string {
  return line === 0 ? source : `${source}:${line}:${column}`;
}

function writeProblem({ place, key, text }: ConfigProblem): string {
  return `${writePlace(place)}: ${key === '' ? '' : `${key}: `}${text}`;
}

export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[], options?: { cause?: unknown }) {
    super(problems.map(writeProblem).join('\n'), options);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
