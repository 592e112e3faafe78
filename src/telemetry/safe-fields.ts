/**
 * What may stand in a log line: short texts, numbers, and what errors say of themselves. Bytes are
 * told by their count only, and a field whose name speaks of a secret never shows its value, so
 * that no caller has to remember it. Pure.
 */

const SECRET = /pass|secret|token|credential|authorization|cookie|private|payload|(^|[._-])key$/i;

const TEXT_MAX = 512;
const ITEMS_MAX = 20;
const KEYS_MAX = 32;
const LEVELS_MAX = 4;

const REDACTED = '[redacted]';

function shortened(text: string): string {
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX)}... (${text.length})`;
}

function safeError(error: Error, level: number): Record<string, unknown> {
  const told: Record<string, unknown> = { type: error.name, message: shortened(error.message) };
  if ('code' in error && typeof error.code === 'string') told['code'] = shortened(error.code);
  // The first frames say where; the message stands above already.
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  if (frames.length > 0) told['at'] = frames.slice(0, 8).map((line) => shortened(line.trim()));
  if (error.cause !== undefined) told['cause'] = safeValue(error.cause, level + 1);
  return told;
}

function safeValue(value: unknown, level: number): unknown {
  switch (typeof value) {
    case 'string':
      return shortened(value);
    case 'number':
    case 'boolean':
    case 'undefined':
      return value;
    case 'bigint':
      return String(value);
    case 'object':
      break;
    default:
      return `[${typeof value}]`;
  }
  if (value === null) return null;
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (level >= LEVELS_MAX) return '[deeper]';
  if (value instanceof Error) return safeError(value, level);
  if (Array.isArray(value)) {
    const items = value.slice(0, ITEMS_MAX).map((item) => safeValue(item, level + 1));
    return value.length > ITEMS_MAX ? [...items, `[${value.length - ITEMS_MAX} more]`] : items;
  }
  return safeFields(value, level + 1);
}

/** The logger's own: a field of that name gets an underscore, so that it cannot pass itself off. */
const OWN = new Set(['level', 'time', 'node', 'message']);

export function safeFields(fields: object, level = 0): Record<string, unknown> {
  const safe: [string, unknown][] = Object.entries(fields)
    .slice(0, KEYS_MAX)
    .map(([name, value]) => [
      level === 0 && OWN.has(name) ? `_${name}` : name,
      SECRET.test(name) ? REDACTED : safeValue(value, level),
    ]);
  return Object.fromEntries(safe);
}
