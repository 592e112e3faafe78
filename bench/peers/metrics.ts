/** Figures that the broker tells of itself, read from its metrics. */

async function metrics(port: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  if (!answer.ok) throw new Error(`metrics answered ${answer.status}`);
  return answer.text();
}

function value(text: string, name: string, label: string): number {
  const line = text
    .split('\n')
    .find((each) => each.startsWith(`${name}{`) && each.includes(`"${label}"`));
  if (line === undefined) throw new Error(`there is no metric ${name} with ${label}`);
  return Number(line.slice(line.lastIndexOf(' ') + 1));
}

export interface Written {
  readonly log: number;
  readonly prewrite: number;
  readonly runs: number;
  readonly records: number;
}

/** Bytes written since the start of the broker, by kind. */
export async function written(port: number): Promise<Written> {
  const text = await metrics(port);
  const name = 'fluxmq_written_bytes_total';
  return {
    log: value(text, name, 'log'),
    prewrite: value(text, name, 'prewritten'),
    runs: value(text, name, 'runs'),
    records: value(text, name, 'records'),
  };
}

/** Wanted messages of each queue that has series of its own. */
export async function depths(port: number): Promise<ReadonlyMap<string, number>> {
  const text = await metrics(port);
  const found = text.matchAll(/^fluxmq_queue_depth_messages\{queue="([^"]+)"\} (\S+)$/gm);
  return new Map([...found].map(([, queue = '', depth]) => [queue, Number(depth)]));
}
