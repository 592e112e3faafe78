/** Memory, disk and what is wanted of it over time, as an SVG that a page can show. */

export interface Sample {
  readonly second: number;
  readonly residentMiB: number;
  readonly diskMiB: number;
  /** Payload that somebody is still to get, or that retention keeps. */
  readonly wantedMiB: number;
  readonly published: number;
  readonly settled: number;
}

const WIDTH = 900;
const HEIGHT = 360;
const LEFT = 60;
const BOTTOM = 30;

function line(samples: readonly Sample[], of: (sample: Sample) => number, top: number): string {
  const last = Math.max(samples.at(-1)?.second ?? 1, 1);
  const points = samples.map((sample) => {
    const x = LEFT + ((WIDTH - LEFT - 10) * sample.second) / last;
    const y = HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - 20) * of(sample)) / top;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return points.join(' ');
}

export function plot(samples: readonly Sample[]): string {
  const highest = Math.max(1, ...samples.flatMap((each) => [each.residentMiB, each.diskMiB]));
  const top = Math.ceil(highest / 100) * 100;
  const rows = [
    { name: 'memory', color: '#c0392b', of: (sample: Sample): number => sample.residentMiB },
    { name: 'disk', color: '#2471a3', of: (sample: Sample): number => sample.diskMiB },
    { name: 'wanted', color: '#229954', of: (sample: Sample): number => sample.wantedMiB },
  ];
  const lines = rows.map(({ name, color, of }, at) => {
    const text = `<text x="${LEFT + 10 + at * 110}" y="14" fill="${color}">${name}</text>`;
    const points = line(samples, of, top);
    return `${text}<polyline fill="none" stroke="${color}" points="${points}"/>`;
  });
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 20) * share;
    const label = `<text x="4" y="${y + 4}">${Math.round(top * share)} MiB</text>`;
    return `${label}<line x1="${LEFT}" x2="${WIDTH - 10}" y1="${y}" y2="${y}" stroke="#ddd"/>`;
  });
  const minutes = ((samples.at(-1)?.second ?? 0) / 60).toFixed(0);
  const axis = `<text x="${WIDTH - 110}" y="${HEIGHT - 8}">${minutes} minutes</text>`;
  const size = `viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}"`;
  const font = 'font-family="sans-serif" font-size="12"';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...marks,
    ...lines,
    axis,
    '</svg>',
    '',
  ].join('\n');
}
