/**
 * A JSON text by POST to a service, and its answer: for a bounded time, of bounded length.
 * Redirects are not followed. Never rejects; nothing of it is logged.
 */

import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

import type { PostWay } from './access/callout.ts';

type Posted = { readonly text: string } | 'error' | 'timeout';

export function httpPost(
  text: string,
  { url, timeoutMs, secrets, maxBytes }: PostWay,
): Promise<Posted> {
  return new Promise((resolve) => {
    const { ca, bearer } = secrets;
    const body = Buffer.from(text);
    const signal = AbortSignal.timeout(timeoutMs);
    const options = {
      method: 'POST',
      signal,
      headers: {
        'content-type': 'application/json',
        'content-length': body.length,
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      },
      ...(ca !== undefined && { ca }),
    };
    const failed = (): void => resolve(signal.aborted ? 'timeout' : 'error');
    const answered = (response: IncomingMessage): void => {
      readAnswer(response, maxBytes).then((answer) => resolve(answer ?? 'error'), failed);
    };
    let request: ClientRequest;
    try {
      request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, answered);
    } catch {
      resolve('error');
      return;
    }
    request.on('error', failed);
    request.end(body);
  });
}

/** Undefined: another status than 200, or too long. Rejects when it does not come. */
async function readAnswer(
  response: IncomingMessage,
  maxBytes: number,
): Promise<{ readonly text: string } | undefined> {
  if (response.statusCode !== 200) {
    response.destroy();
    return undefined;
  }
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    // Leaving the loop ends the connection.
    if (length > maxBytes) return undefined;
    parts.push(part);
  }
  return { text: Buffer.concat(parts).toString() };
}
