/**
 * What is alive in the heaps of a process of Node.js, of its main thread and of each of its
 * workers: by its inspector, after a collection of garbage in each thread. Array buffers count, as
 * they lie outside of the heap but belong to what is in it.
 */

import { once } from 'node:events';
import { WebSocket } from 'ws';

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly sessionId?: string; readonly message?: string };
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

type Ask = (method: string, params?: object) => Promise<Answer>;

const WORKERS_ATTACH_MS = 500;
const USED = 'Object.entries(process.memoryUsage())';

/** Requests to one thread, by their numbers. */
class Thread {
  readonly #send: (text: string) => void;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #last = 0;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  readonly ask: Ask = (method, params = {}) =>
    new Promise((resolve) => {
      this.#last += 1;
      this.#waiting.set(this.#last, resolve);
      this.#send(JSON.stringify({ id: this.#last, method, params }));
    });

  answered(answer: Answer): void {
    this.#waiting.get(answer.id ?? 0)?.(answer);
    this.#waiting.delete(answer.id ?? 0);
  }

  async liveBytes(): Promise<number> {
    // What a first collection lets go may hold more that the second one finds.
    await this.ask('HeapProfiler.collectGarbage');
    await this.ask('HeapProfiler.collectGarbage');
    const asked = { expression: USED, returnByValue: true };
    const answer = await this.ask('Runtime.evaluate', asked);
    const usage = new Map(answer.result?.result?.value as [string, number][]);
    return (usage.get('heapUsed') ?? 0) + (usage.get('arrayBuffers') ?? 0);
  }
}

/** Of the main thread first; `port` is the one of `inspectorEnv`. */
export async function liveBytes(port: number): Promise<number[]> {
  const list = await fetch(`http://127.0.0.1:${port}/json/list`);
  const [target] = (await list.json()) as { readonly webSocketDebuggerUrl: string }[];
  if (target === undefined) throw new Error('the inspector has no target');
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  const main = new Thread((text) => socket.send(text));
  const workers = new Map<string, Thread>();
  socket.on('message', (data: Buffer) => {
    const answer = JSON.parse(data.toString()) as Answer;
    const { sessionId = '', message = '{}' } = answer.params ?? {};
    if (answer.method === 'NodeWorker.attachedToWorker') {
      const send = (text: string): void => {
        void main.ask('NodeWorker.sendMessageToWorker', { sessionId, message: text });
      };
      workers.set(sessionId, new Thread(send));
    } else if (answer.method === 'NodeWorker.receivedMessageFromWorker') {
      workers.get(sessionId)?.answered(JSON.parse(message) as Answer);
    } else main.answered(answer);
  });
  await once(socket, 'open');
  await main.ask('NodeWorker.enable', { waitForDebuggerOnStart: false });
  await new Promise((resolve) => {
    setTimeout(resolve, WORKERS_ATTACH_MS);
  });
  const bytes: number[] = [];
  for (const thread of [main, ...workers.values()]) bytes.push(await thread.liveBytes());
  socket.terminate();
  return bytes;
}
