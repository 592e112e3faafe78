/**
 * The logger of the product: one line an event on standard error, JSON for machines or text for a
 * terminal. Every field goes through `safeFields`. A line is written before the call returns, so
 * that the last words of a process that ends are not lost; so nothing may be logged for each
 * message at a level that is on by default.
 */

import {
  type DestinationStream,
  type Logger as Pino,
  destination,
  pino,
  stdTimeFunctions,
} from 'pino';
import type { Logger } from './logger.ts';
import { safeFields } from './safe-fields.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: 'json' | 'text';
  /** Stands in every JSON line. */
  readonly node: string;
  /** Where lines go, for tests; standard error otherwise. */
  readonly write?: (line: string) => void;
}

const STANDARD_ERROR = 2;

type Level = 'debug' | 'info' | 'warn' | 'error';

class PinoLogger implements Logger {
  readonly #pino: Pino;

  constructor(options: LoggerOptions) {
    const { level, format, node, write } = options;
    const raw: DestinationStream =
      write === undefined ? destination({ dest: STANDARD_ERROR, sync: true }) : { write };
    const stream = format === 'text' ? { write: (line: string) => raw.write(asText(line)) } : raw;
    this.#pino = pino(
      {
        level,
        base: { node },
        timestamp: stdTimeFunctions.isoTime,
        messageKey: 'message',
        formatters: { level: (label) => ({ level: label }) },
      },
      stream,
    );
  }

  debug(fields: Record<string, unknown>, message: string): void {
    this.#log('debug', fields, message);
  }

  info(fields: Record<string, unknown>, message: string): void {
    this.#log('info', fields, message);
  }

  warn(fields: Record<string, unknown>, message: string): void {
    this.#log('warn', fields, message);
  }

  error(fields: Record<string, unknown>, message: string): void {
    this.#log('error', fields, message);
  }

  #log(level: Level, fields: Record<string, unknown>, message: string): void {
    if (this.#pino.isLevelEnabled(level)) this.#pino[level](safeFields(fields), message);
  }
}

/**
 * `12:30:01.123 info  client connected  client=a protocol="MQTT 5.0"`: one line, whatever a field
 * holds.
 */
function asText(line: string): string {
  const {
    level,
    time,
    node: _node,
    message,
    ...fields
  } = JSON.parse(line) as Record<string, unknown>;
  const told = Object.entries(fields).map(([name, value]) => `${name}=${bare(value)}`);
  const clock = String(time).slice(11, 23);
  return `${[`${clock} ${String(level).padEnd(5)} ${String(message)}`, ...told].join('  ')}\n`;
}

function bare(value: unknown): string {
  if (typeof value === 'string' && /^[\w.:/@$+#[\]-]+$/.test(value)) return value;
  // Escapes every control character, also those that JSON leaves alone.
  return JSON.stringify(value).replaceAll(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function createLogger(options: LoggerOptions): Logger {
  return new PinoLogger(options);
}
