/**
 * How wide a text is on a terminal, cut and made harmless: names and payloads come from anybody,
 * and a control character in them must not move the cursor or change what a person reads. Pure.
 */

/** Takes no column of its own: marks on the character before, and joiners. */
const NONE = /[\p{Mn}\p{Me}\p{Cf}]/u;
/** Two columns: East Asian letters, their marks and wide forms, and pictures. */
const LETTERS = /\p{Script=Han}|\p{Script=Hangul}|\p{Script=Hiragana}|\p{Script=Katakana}/u;
const WIDE = /[\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

function columnsOfOne(character: string): number {
  // Nearly all of them.
  if (character >= ' ' && character <= '~') return 1;
  if (NONE.test(character)) return 0;
  return LETTERS.test(character) || WIDE.test(character) ? 2 : 1;
}

export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += columnsOfOne(character);
  return columns;
}

/** The text in at most so many columns, with an ellipsis where something is missing. */
export function cutTo(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let kept = '';
  let used = 1;
  for (const character of text) {
    used += columnsOfOne(character);
    if (used > columns) break;
    kept += character;
  }
  return columns < 1 ? '' : `${kept}\u2026`;
}

/** Control characters, half ones, and those that turn the direction of writing. */
const HARMFUL = /[\p{Cc}\p{Surrogate}\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/** On one line, with everything that a terminal would act upon written out. */
export function visible(text: string): string {
  return text.replaceAll(HARMFUL, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
