/**
 * The ports `QueueAdmin` and `ClusterAdmin` as the command line has them: each call is one request
 * over the admin socket of a broker, with a deadline, and is never sent twice: a purge whose answer
 * was lost is told as such, since only a person can say whether it may be done again.
 *
 * Rejects with an `AdminError` where the broker refused, and with an `AdminCallError` where it gave
 * no answer. A socket that is neither ours nor, for root, anybody's is not spoken to: whoever put
 * it there could make up what he likes.
 */

import { lstat } from 'node:fs/promises';
import { Client, Metadata, credentials } from '@grpc/grpc-js';
import type {
  MoveWish,
  Offset,
  PeekedMessage,
  Position,
  QueueAdmin,
  QueueDefinition,
  QueueDetail,
  QueueSummary,
} from '../broker/ports.ts';
import { ClusterClient } from './cluster-client.ts';
import type { ClusterAdmin } from './cluster-port.ts';
import { detailOf, messageOf, outcomeOf, positionFields, summaryOf } from './convert.ts';
import { LIST_MAX, PEEK_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX } from './limits.ts';
import { type AdminCall, type AdminCalls, methodOf } from './messages.ts';
import { pathProblem } from './socket.ts';
import { AdminCallError, errorOf, understood } from './status.ts';

export class AdminClient implements QueueAdmin {
  readonly cluster: ClusterAdmin = new ClusterClient((name, request) => this.#call(name, request));
  readonly #client: Client;
  readonly #path: string;
  readonly #timeoutMs: number;

  private constructor(client: Client, path: string, timeoutMs: number) {
    this.#client = client;
    this.#path = path;
    this.#timeoutMs = timeoutMs;
  }

  /** `timeoutMs` is for each call. Rejects where no broker can be behind `path`. */
  static async open(path: string, timeoutMs: number): Promise<AdminClient> {
    await checkSocket(path);
    const client = new Client(`unix:${path}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': REPLY_BYTES_MAX,
      'grpc.max_send_message_length': REQUEST_BYTES_MAX,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.enable_channelz': 0,
      'grpc.use_local_subchannel_pool': 1,
    });
    return new AdminClient(client, path, timeoutMs);
  }

  close(): void {
    this.#client.close();
  }

  async list(after: string, max: number): Promise<readonly QueueSummary[]> {
    const found: QueueSummary[] = [];
    let last = after;
    while (found.length < max) {
      const wanted = Math.min(max - found.length, LIST_MAX);
      const { queues, end } = await this.#call('List', { after: last, max: wanted });
      for (const queue of queues) found.push(understood(queue, summaryOf));
      last = found.at(-1)?.definition.name ?? last;
      if (end || queues.length === 0) break;
    }
    return found;
  }

  async show(name: string): Promise<QueueDetail> {
    return understood(await this.#call('Show', { name }), detailOf);
  }

  async declare(definition: QueueDefinition): Promise<'created' | 'same' | 'updated'> {
    const { outcome } = await this.#call('Declare', definition);
    return understood(outcome, outcomeOf);
  }

  async delete(name: string): Promise<void> {
    await this.#call('Delete', { name });
  }

  async purge(name: string, group: string | undefined): Promise<number> {
    const request = group === undefined ? { name } : { name, group };
    return (await this.#call('Purge', request)).count;
  }

  /** One page: an empty one says that nothing follows, a short one says nothing. */
  async peek(name: string, from: Offset, max: number): Promise<readonly PeekedMessage[]> {
    const wanted = Math.min(max, PEEK_MAX);
    const { messages } = await this.#call('Peek', { name, from, max: wanted });
    return messages.map((message) => understood(message, messageOf));
  }

  async move(wish: MoveWish): Promise<number> {
    return (await this.#call('Move', wish)).count;
  }

  async seek(name: string, group: string, position: Position): Promise<Offset> {
    const request = { name, group, ...positionFields(position) };
    return (await this.#call('Seek', request)).floor as Offset;
  }

  async deleteGroup(name: string, group: string): Promise<void> {
    await this.#call('DeleteGroup', { name, group });
  }

  #call<Name extends AdminCall>(
    name: Name,
    request: AdminCalls[Name]['request'],
  ): Promise<AdminCalls[Name]['reply']> {
    const { path, requestSerialize, responseDeserialize } = methodOf(name);
    const options = { deadline: Date.now() + this.#timeoutMs };
    return new Promise((resolve, reject) => {
      const metadata = new Metadata();
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        options,
        (error, reply) => {
          if (error !== null) reject(errorOf(error, this.#path));
          // The loader made the reply by the same file as the types.
          else resolve(reply as AdminCalls[Name]['reply']);
        },
      );
    });
  }
}

async function checkSocket(path: string): Promise<void> {
  const problem = pathProblem(path);
  if (problem !== undefined) throw new AdminCallError('unreachable', problem);
  const there = await lstat(path).catch((cause: unknown) => {
    const text = cause instanceof Error ? cause.message : String(cause);
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const why = absent ? `no broker runs here: there is no ${path}` : text;
    throw new AdminCallError('unreachable', why, { cause });
  });
  if (!there.isSocket()) throw new AdminCallError('unreachable', `${path} is no socket`);
  const user = process.getuid?.();
  if (user !== undefined && user !== 0 && there.uid !== user) {
    throw new AdminCallError('unreachable', `${path} belongs to another user`);
  }
}
