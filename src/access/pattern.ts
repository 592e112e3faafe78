/**
 * Which topics a rule means, and how a pattern stands to a topic or to the filter of a subscriber.
 * Pure, iterative, without an allocation for each question; its work is bounded by the levels of
 * the pattern, whatever the length of the topic (S4).
 *
 * A permission is never wider than it reads, a denial never narrower. So wildcards in the first
 * level of an `allow` do not mean topics that begin with `$` ([MQTT-4.7.2-1]), and those of a
 * `deny` do. `%u` and `%c` stand for the user name and the client id: one that is missing, or has
 * `+`, `#`, `/` or NUL in it, cannot be a part of one level. An `allow` with it then means nothing,
 * and a `deny` everything from that level on (S5).
 */

/** Checked: `#` is last, wildcards are whole levels, there is no NUL. */
export interface Pattern {
  /** `*`: every topic, those with `$` too. */
  readonly all: boolean;
  readonly levels: readonly string[];
}

export interface Names {
  readonly user: string | undefined;
  readonly clientId: string;
}

const DOLLAR = 0x24;
const HASH = 0x23;
const PLUS = 0x2b;
const SLASH = 0x2f;

/** Undefined: it is none. */
export function parsePattern(written: string): Pattern | undefined {
  if (written === '*') return { all: true, levels: [] };
  if (written === '' || written.includes('\0')) return undefined;
  const levels = written.split('/');
  const isGood = levels.every((level, at) => {
    if (level === '#') return at === levels.length - 1;
    return level === '+' || !/[+#]/.test(level);
  });
  return isGood ? { all: false, levels } : undefined;
}

export function hasNames({ levels }: Pattern): boolean {
  return levels.some((level) => level.includes('%u') || level.includes('%c'));
}

/** With the names in place of `%u` and `%c`; undefined: it means nothing. */
export function withNames(pattern: Pattern, names: Names, allow: boolean): Pattern | undefined {
  const levels: string[] = [];
  for (const level of pattern.levels) {
    const named = levelWithNames(level, names);
    if (named === undefined) return allow ? undefined : { all: false, levels: [...levels, '#'] };
    levels.push(named);
  }
  return { all: pattern.all, levels };
}

function levelWithNames(level: string, { user, clientId }: Names): string | undefined {
  let isGood = true;
  const named = level.replaceAll(/%[uc]/g, (which) => {
    const name = which === '%u' ? user : clientId;
    if (name === undefined || name === '' || /[+#/\0]/.test(name)) isGood = false;
    return name ?? '';
  });
  return isGood ? named : undefined;
}

/** Each topic that `text`, a topic or a filter, means is one of the pattern: for an `allow`. */
export function covers({ all, levels }: Pattern, text: string): boolean {
  if (all) return true;
  if (text.charCodeAt(0) === DOLLAR && (levels[0] === '#' || levels[0] === '+')) return false;
  // Where the next level of the text begins; -1 behind the last.
  let at = 0;
  for (const level of levels) {
    if (level === '#') return true;
    if (at < 0) return false;
    if (level === '+') {
      if (text.charCodeAt(at) === HASH) return false;
      at = behindLevel(text, at);
    } else {
      const end = levelEnd(text, at, level);
      if (end < 0) return false;
      at = end === text.length ? -1 : end + 1;
    }
  }
  return at < 0;
}

/** Some topic that `text` means is one of the pattern: for a `deny`. */
export function overlaps({ all, levels }: Pattern, text: string): boolean {
  if (all) return true;
  // What a subscriber of `#` or `+/x` does not get anyway.
  if (levels[0]?.startsWith('$') === true && isWildcard(text, 0)) return false;
  let at = 0;
  for (const level of levels) {
    if (level === '#') return true;
    if (at < 0) return false;
    if (text.charCodeAt(at) === HASH) return true;
    if (level === '+' || isWildcard(text, at)) {
      at = behindLevel(text, at);
    } else {
      const end = levelEnd(text, at, level);
      if (end < 0) return false;
      at = end === text.length ? -1 : end + 1;
    }
  }
  return at < 0 || text.charCodeAt(at) === HASH;
}

/** Of a filter that is valid: a wildcard is alone in its level. */
function isWildcard(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit === HASH || unit === PLUS;
}

function behindLevel(text: string, at: number): number {
  const slash = text.indexOf('/', at);
  return slash < 0 ? -1 : slash + 1;
}

/** Where the level that begins at `at` ends, if it is `level`; -1: it is another one. */
function levelEnd(text: string, at: number, level: string): number {
  if (!text.startsWith(level, at)) return -1;
  const end = at + level.length;
  return end === text.length || text.charCodeAt(end) === SLASH ? end : -1;
}
