/**
 * One chart of the report as SVG: lines over time, faults as bands behind them, phases as dashed
 * lines, anomalies as marks. A pointer on a band or mark shows its words.
 */

import { escape } from './escape.ts';
import type { Series } from './series.ts';

const WIDTH = 1100;
const HEIGHT = 260;
const LEFT = 70;
const RIGHT = 10;
const TOP = 24;
const BOTTOM = 30;
/** Above it a page gets too heavy; the table has all of them. */
const BANDS_MAX = 2_000;

export interface Band {
  readonly kind: string;
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

export interface Mark {
  readonly at: number;
  readonly text: string;
}

export interface ChartParts {
  readonly title: string;
  readonly unit: string;
  readonly scale: 'linear' | 'logarithmic';
  readonly seconds: number;
  readonly intervalSeconds: number;
  readonly series: readonly Series[];
  readonly bands: readonly Band[];
  readonly phases: readonly Mark[];
  readonly anomalies: readonly Mark[];
}

export const BAND_COLORS: Readonly<Record<string, string>> = {
  kill: '#ffc1ba',
  pause: '#ffe58f',
  partition: '#b6d7ff',
  wipe: '#d9c2ff',
};
const OTHER_COLOR = '#d0d7de';

type Place = (value: number) => number;

function scaleOf({ scale, series }: ChartParts): { readonly y: Place; readonly ticks: number[] } {
  const values = series.flatMap((each) => each.values.filter((value) => value > 0));
  const top = Math.max(1, ...values.map((value) => value));
  const inner = HEIGHT - TOP - BOTTOM;
  if (scale === 'linear') {
    const step = 10 ** Math.floor(Math.log10(top));
    const high = Math.ceil(top / step) * step;
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => share * high);
    return { y: (value) => HEIGHT - BOTTOM - (inner * value) / high, ticks };
  }
  const [low, high] = [-1, Math.ceil(Math.log10(top))];
  const ticks = Array.from({ length: high - low + 1 }, (_, each) => 10 ** (low + each));
  const y: Place = (value) => {
    const log = Math.log10(Math.max(value, 10 ** low));
    return HEIGHT - BOTTOM - (inner * (log - low)) / (high - low);
  };
  return { y, ticks };
}

/** Pieces of a line, because a gap in the values is a gap in the line. */
function line({ values, color }: Series, x: Place, y: Place): string {
  const pieces: string[][] = [[]];
  for (const [place, value] of values.entries()) {
    if (Number.isNaN(value)) pieces.push([]);
    else pieces.at(-1)?.push(`${x(place + 0.5).toFixed(1)},${y(value).toFixed(1)}`);
  }
  return pieces
    .filter((piece) => piece.length > 0)
    .map((piece) => {
      // A value alone would be invisible.
      const points = piece.length === 1 ? [...piece, ...piece] : piece;
      const style = `stroke="${color}" stroke-width="1.5" stroke-linecap="round"`;
      return `<polyline fill="none" ${style} points="${points.join(' ')}"/>`;
    })
    .join('');
}

function vertical({ at, text }: Mark, x: Place, style: string): string {
  const place = x(at).toFixed(1);
  const ends = `x1="${place}" x2="${place}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"`;
  return `<line ${ends} ${style}><title>${escape(text)}</title></line>`;
}

function band({ kind, from, to, text }: Band, x: Place): string {
  const width = Math.max(1, x(to) - x(from)).toFixed(1);
  const left = `x="${x(from).toFixed(1)}" width="${width}"`;
  const box = `${left} y="${TOP}" height="${HEIGHT - TOP - BOTTOM}"`;
  const fill = BAND_COLORS[kind] ?? OTHER_COLOR;
  return `<rect ${box} fill="${fill}" opacity="0.75"><title>${escape(text)}</title></rect>`;
}

export function chart(parts: ChartParts): string {
  const span = Math.max(parts.seconds, 1);
  const inner = WIDTH - LEFT - RIGHT;
  const x: Place = (seconds) => LEFT + (inner * Math.min(seconds, span)) / span;
  const { y, ticks } = scaleOf(parts);
  const grid = ticks.map((tick) => {
    const place = y(tick).toFixed(1);
    const text = `<text x="4" y="${Number(place) + 4}">${Number(tick.toPrecision(3))}</text>`;
    const ends = `x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${place}" y2="${place}"`;
    return `${text}<line ${ends} stroke="#e5e7eb"/>`;
  });
  const times = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = x(span * share) - (share === 1 ? 40 : 0);
    return `<text x="${at.toFixed(1)}" y="${HEIGHT - 8}">${Math.round(span * share)} s</text>`;
  });
  const legend = parts.series.map(
    ({ name, color }, at) =>
      `<text x="${LEFT + 300 + at * 110}" y="14" fill="${color}">${name}</text>`,
  );
  const title = escape(`${parts.title} (${parts.unit})`);
  const size = `viewBox="0 0 ${WIDTH} ${HEIGHT}" width="100%"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12">`,
    ...parts.bands.slice(0, BANDS_MAX).map((each) => band(each, x)),
    ...grid,
    ...times,
    `<text x="${LEFT}" y="14" font-weight="bold">${title}</text>`,
    ...legend,
    ...parts.phases.map((mark) => vertical(mark, x, 'stroke="#57606a" stroke-dasharray="4 3"')),
    ...parts.series.map((each) => line(each, (place) => x(place * parts.intervalSeconds), y)),
    ...parts.anomalies.map((mark) => vertical(mark, x, 'stroke="#ff0000" stroke-width="2"')),
    '</svg>',
  ].join('\n');
}
