/**
 * What the documentation says can be run: fenced blocks marked `sh test` and `js test`, each with
 * the block marked `text output` that may follow it. In an expected output an ellipsis stands for
 * any text within a line.
 */

export type Language = 'sh' | 'js';

export interface DocumentedBlock {
  readonly language: Language;
  readonly line: number;
  readonly source: string;
  /** Undefined: no output is promised. */
  readonly output: string | undefined;
}

interface Fence {
  readonly info: string;
  readonly line: number;
  readonly text: string;
  /** Nothing but blank lines lies between the fence before and this one. */
  readonly adjoins: boolean;
}

function fencesOf(markdown: string): Fence[] {
  const fences: Fence[] = [];
  let open: { info: string; line: number; lines: string[]; adjoins: boolean } | undefined;
  let onlyBlank = false;
  for (const [index, line] of markdown.split('\n').entries()) {
    if (open === undefined) {
      if (line.startsWith('```')) {
        open = { info: line.slice(3).trim(), line: index + 1, lines: [], adjoins: onlyBlank };
      } else if (line.trim() !== '') {
        onlyBlank = false;
      }
    } else if (line === '```') {
      const text = open.lines.map((each) => `${each}\n`).join('');
      fences.push({ info: open.info, line: open.line, text, adjoins: open.adjoins });
      open = undefined;
      onlyBlank = true;
    } else {
      open.lines.push(line);
    }
  }
  if (open !== undefined) throw new Error(`the block of line ${open.line} does not end`);
  return fences;
}

export function documentedBlocks(markdown: string): DocumentedBlock[] {
  const blocks: DocumentedBlock[] = [];
  const fences = fencesOf(markdown);
  for (const [index, { info, line, text }] of fences.entries()) {
    const [, language] = /^(sh|js) test$/.exec(info) ?? [];
    if (language !== 'sh' && language !== 'js') continue;
    const next = fences[index + 1];
    const output = next?.info === 'text output' && next.adjoins ? next.text : undefined;
    blocks.push({ language, line, source: text, output });
  }
  return blocks;
}

/** Blocks of expected output that no block to run stands before: nobody would check them. */
export function strayOutputs(markdown: string): number[] {
  const fences = fencesOf(markdown);
  return fences
    .filter(({ info, adjoins }, index) => {
      const before = fences[index - 1]?.info ?? '';
      return info === 'text output' && !(adjoins && /^(sh|js) test$/.test(before));
    })
    .map(({ line }) => line);
}

export function outputPattern(expected: string): RegExp {
  const parts = expected.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^\\n]*')}$`);
}
