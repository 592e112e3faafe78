/**
 * The report of a run as one page of HTML that needs nothing else: the verdict, throughput and
 * latency over time with the faults as bands and the anomalies marked, and every fault with what it
 * was.
 */

import { faultsOf } from '../checkers/faults.ts';
import type { Operation } from '../history/operation.ts';
import { BAND_COLORS, type ChartParts, chart } from './chart.ts';
import { escape } from './escape.ts';
import { seriesOf } from './series.ts';
import { type Judged, isValid, summary } from './summary.ts';

const NS_PER_S = 1e9;
const STYLE =
  'body{font:14px/1.5 sans-serif;max-width:1140px;margin:2em auto;padding:0 1em;color:#1f2328}' +
  'pre{background:#f6f8fa;padding:1em;overflow:auto}table{border-collapse:collapse}' +
  'td,th{border:1px solid #d0d7de;padding:.2em .6em;text-align:left}' +
  '.ok{color:#1a7f37}.bad{color:#cf222e}';

function row(cells: readonly string[], tag: 'td' | 'th' = 'td'): string {
  return `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
}

function swatches(): string {
  return Object.entries(BAND_COLORS)
    .map(([kind, color]) => `<span style="background:${color};padding:0 .5em">${kind}</span>`)
    .join(' ');
}

function faultTable(history: readonly Operation[]): string {
  const seconds = (time: number): string => (time / NS_PER_S).toFixed(2);
  const rows = faultsOf(history).map(({ id, kind, nodes, detail, from, to, ...rest }) => {
    const state = rest.refused ?? (rest.installed === undefined ? 'not installed' : 'installed');
    return row([String(id), kind, nodes.join(', '), detail, seconds(from), seconds(to), state]);
  });
  const head = row(['', 'kind', 'nodes', 'what', 'from s', 'to s', 'state'], 'th');
  return `<table>${head}${rows.join('\n')}</table>`;
}

export function page(history: readonly Operation[], judged: Judged): string {
  const { verdicts, run } = judged;
  const { throughput, latency, seconds, intervalSeconds } = seriesOf(history);
  const over = {
    seconds,
    intervalSeconds,
    bands: faultsOf(history).map(({ kind, nodes, detail, from, to }) => ({
      kind,
      from: from / NS_PER_S,
      to: to / NS_PER_S,
      text: `${kind} ${nodes.join(', ')}: ${detail}`,
    })),
    phases: history
      .filter((operation) => operation.f === 'phase')
      .map(({ time, value }) => ({ at: time / NS_PER_S, text: value })),
    anomalies: verdicts.flatMap(({ checker, anomalies }) =>
      anomalies.map(({ time, text }) => ({ at: time / NS_PER_S, text: `${checker}: ${text}` })),
    ),
  };
  const rates: ChartParts = {
    ...over,
    title: 'Throughput',
    unit: 'operations a second',
    scale: 'linear',
    series: throughput,
  };
  const latencies: ChartParts = {
    ...over,
    title: 'Latency of acknowledged enqueues',
    unit: 'ms, logarithmic',
    scale: 'logarithmic',
    series: latency,
  };
  const valid = isValid(judged);
  return [
    '<!doctype html><meta charset="utf-8">',
    `<title>FluxMQ under faults: ${valid ? 'valid' : 'NOT valid'}</title><style>${STYLE}</style>`,
    `<h1 class="${valid ? 'ok' : 'bad'}">${valid ? 'Valid' : 'Not valid'}</h1>`,
    `<p>${escape(run.began)}. Bands: ${swatches()}. Dashed lines begin the phases heal, drain and`,
    'end; red lines are anomalies. Point at them for their words.</p>',
    chart(rates),
    chart(latencies),
    `<h2>Verdict</h2><pre>${escape(summary(judged))}</pre>`,
    `<h2>Faults</h2>${faultTable(history)}`,
    '',
  ].join('\n');
}
