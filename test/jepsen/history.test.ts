/** The history on the disk: written as it happens, in both formats, and read again whole. */

import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Processes } from '../../jepsen/history/processes.ts';
import { readHistory } from '../../jepsen/history/read.ts';
import { Recorder } from '../../jepsen/history/recorder.ts';
import { decodePayload, encodePayload } from '../../jepsen/workload/payload.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'fluxmq-history-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const enqueue = { f: 'enqueue', process: 3, node: 'n1', queue: 'q', value: 'a/0' } as const;

describe('a history', () => {
  it('is read as it was written, in order and with the time of each call', async () => {
    const recorder = new Recorder(directory);
    const written = [
      recorder.add({ ...enqueue, type: 'invoke' }),
      recorder.add({ ...enqueue, type: 'info', error: 'said "no"\n' }),
    ];
    await recorder.close();
    expect(await readHistory(directory)).toEqual(written);
    expect(written.map(({ index }) => index)).toEqual([0, 1]);
    expect(written[1]?.time).toBeGreaterThan(written[0]?.time ?? 0);
    expect(recorder.count('enqueue', 'info')).toBe(1);
  });

  it('is on its way to the disk before the next turn of the event loop is over', async () => {
    const recorder = new Recorder(directory);
    recorder.add({ ...enqueue, type: 'invoke' });
    let text = '';
    // Nothing closes it: this is what a harness that is killed leaves.
    while (text === '') {
      text = await readFile(join(directory, 'history.jsonl'), 'utf8').catch(() => '');
    }
    expect(text).toMatch(/^\{.*"value":"a\/0".*\}\n$/);
    await recorder.close();
  });

  it('is EDN as Jepsen stores it', async () => {
    const recorder = new Recorder(directory);
    recorder.add({ ...enqueue, type: 'info', error: 'said "no"' });
    const fault = { process: 'nemesis', type: 'info', step: 'installed', fault: 1 } as const;
    recorder.add({ ...fault, f: 'kill', nodes: ['n1', 'n2'], detail: 'x' });
    recorder.add({ process: 'harness', f: 'drained', type: 'ok', queue: 'q', value: ['g'] });
    await recorder.close();
    const lines = (await readFile(join(directory, 'history.edn'), 'utf8')).split('\n');
    const timeless = lines.map((line) => line.replace(/:time \d+, /, ''));
    expect(timeless).toEqual([
      '{:index 0, :f :enqueue, :process 3, :node "n1", :queue "q", :value "a/0", :type :info, ' +
        ':error "said \\"no\\""}',
      '{:index 1, :process :nemesis, :type :info, :step :installed, :fault 1, :f :kill, ' +
        ':nodes ["n1" "n2"], :detail "x", :value ["n1" "n2"]}',
      '{:index 2, :process :harness, :f :drained, :type :ok, :queue "q", :value ["g"]}',
      '',
    ]);
  });

  it('may end in the middle of a line, and may be damaged nowhere else', async () => {
    const recorder = new Recorder(directory);
    recorder.add({ ...enqueue, type: 'invoke' });
    await recorder.close();
    const path = join(directory, 'history.jsonl');
    const whole = await readFile(path, 'utf8');
    await appendFile(path, '{"index":1,"ti');
    expect(await readHistory(directory)).toHaveLength(1);
    await writeFile(path, `{"index":0,"ti\n${whole}`);
    await expect(readHistory(directory)).rejects.toThrow(/history\.jsonl:1 is no operation/);
    await writeFile(path, whole + whole);
    await expect(readHistory(directory)).rejects.toThrow(/history\.jsonl:2 is not the operation/);
  });
});

describe('processes', () => {
  it('are never used again when nobody knows how their operation ended', () => {
    const processes = new Processes();
    const [first, unknown] = [processes.take(), processes.take()];
    processes.giveBack(first);
    expect([processes.take(), processes.take()]).toEqual([first, unknown + 1]);
  });
});

describe('a payload', () => {
  it('says its value, and shows every damage', () => {
    const payload = encodePayload('p-n1-0.3/17', 256);
    expect(decodePayload(payload)).toEqual({ value: 'p-n1-0.3/17', corrupt: false });
    expect(payload).toHaveLength(256);
    for (let at = 0; at < payload.length; at += 1) {
      const damaged = `${payload.slice(0, at)}~${payload.slice(at + 1)}`;
      expect(decodePayload(damaged).corrupt).toBe(true);
      expect(decodePayload(payload.slice(0, at)).corrupt).toBe(true);
    }
    expect(decodePayload('').corrupt).toBe(true);
  });
});
