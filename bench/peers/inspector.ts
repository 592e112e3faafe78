/**
 * Has a process of Node.js collect its garbage, so that its resident memory tells what is alive: by
 * its inspector, which it opens on loopback when it is started with `inspectorEnv`.
 */

import { WebSocket } from 'ws';

/** For the environment of the process. */
export function inspectorEnv(port: number): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--inspect=127.0.0.1:${port} --inspect-publish-uid=http` };
}

/** Of the main thread. */
export async function collectGarbage(port: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/json/list`);
  const [target] = (await answer.json()) as { readonly webSocketDebuggerUrl: string }[];
  if (target === undefined) throw new Error('the inspector has no target');
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('open', () => {
      socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }));
    });
    socket.once('message', () => resolve());
  });
  socket.terminate();
}
