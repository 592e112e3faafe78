/**
 * The files of access control as lines of words, and what is wrong with one, by its line.
 *
 * A line that begins with `#` is a comment. Words are separated by spaces and tabs; one that has
 * such in it is written as a JSON text in double quotes. Reading is bounded, and cut into turns of
 * the event loop, since a broker that runs reads them again.
 */

import { open } from 'node:fs/promises';

/** Told to people as it is, and never with what a line holds: it may be a secret. */
export class AccessFileError extends Error {
  /** The configuration key of the file. */
  readonly key: string;

  /** Without a line the file as a whole is meant. */
  constructor(
    { key, path }: AccessFile,
    text: string,
    at: { line?: number; cause?: unknown } = {},
  ) {
    const { line, cause } = at;
    super(`${path}${line === undefined ? '' : `:${line}`}: ${text}`, { cause });
    this.name = 'AccessFileError';
    this.key = key;
  }
}

export interface AccessFile {
  readonly key: string;
  readonly path: string;
  readonly maxBytes: number;
}

export interface Line {
  /** From 1. */
  readonly number: number;
  readonly words: readonly string[];
}

const LINE_LENGTH_MAX = 8192;
const LINES_A_TURN = 500;

/** Rejects with an `AccessFileError`. */
export async function readText(file: AccessFile): Promise<string> {
  let bytes: Uint8Array;
  try {
    const opened = await open(file.path, 'r');
    try {
      const { size } = await opened.stat();
      if (size > file.maxBytes) {
        throw new AccessFileError(file, `is larger than ${file.maxBytes} bytes`);
      }
      bytes = await opened.readFile();
    } finally {
      await opened.close();
    }
  } catch (cause) {
    if (cause instanceof AccessFileError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AccessFileError(file, `cannot be read: ${why}`, { cause });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AccessFileError(file, 'is not UTF-8 text', { cause });
  }
}

/** Calls `take` with each line that says something; what that throws ends it. */
export async function eachLine(
  file: AccessFile,
  text: string,
  take: (line: Line) => void,
): Promise<void> {
  let start = 0;
  for (let number = 1; start < text.length; number++) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const written = text.slice(start, end).trim();
    start = end + 1;
    if (number % LINES_A_TURN === 0) await turn();
    if (written === '' || written.startsWith('#')) continue;
    if (written.length > LINE_LENGTH_MAX) {
      const text = `is longer than ${LINE_LENGTH_MAX} characters`;
      throw new AccessFileError(file, text, { line: number });
    }
    const words = wordsOf(written);
    if (words === undefined) {
      const text = 'a word in quotes is no JSON text, or does not end';
      throw new AccessFileError(file, text, { line: number });
    }
    take({ number, words });
  }
}

/** Undefined: a quote that is wrong. */
export function wordsOf(written: string): string[] | undefined {
  const words: string[] = [];
  const word = /[ \t]*(?:("(?:[^"\\]|\\.)*")(?=[ \t]|$)|([^" \t][^ \t]*)(?=[ \t]|$))/y;
  let at = 0;
  while (at < written.length) {
    word.lastIndex = at;
    const found = word.exec(written);
    if (found === null) return undefined;
    const [, quoted, plain] = found;
    const value = quoted === undefined ? plain : unquoted(quoted);
    if (value === undefined) return undefined;
    words.push(value);
    at = word.lastIndex;
  }
  return words;
}

/** As `wordsOf` reads it again. */
export function writeWord(word: string): string {
  return /^[^"#\s][^\s]*$/.test(word) ? word : JSON.stringify(word);
}

function unquoted(quoted: string): string | undefined {
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
