/**
 * Serves the ports `QueueAdmin` and `ClusterAdmin` to the command line: gRPC over a Unix socket of
 * its owner.
 *
 * Whoever can open the socket may do everything, so nobody else can (`socket.ts`). Bounded in every
 * direction (`limits.ts`): connections, requests at a time, bytes of a request and of a reply. A
 * place is given back when the broker has answered, not when the caller went away, so that wishes
 * that nobody waits for any more cannot pile up behind it. Never retries and never guesses.
 */

import { Server, ServerCredentials, type handleUnaryCall, status } from '@grpc/grpc-js';
import { AdminError } from '../broker/ports.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type AdminLimits, REPLY_BYTES_MAX, REQUEST_BYTES_MAX } from './limits.ts';
import { type AdminCall, type AdminCalls, adminService } from './messages.ts';
import { type AdminPorts, type Handlers, handlersOf } from './handlers.ts';
import { PrivateSocket, type SocketPlace } from './socket.ts';
import { type Refusal, busyStatus, refusalOf, statusOf } from './status.ts';

export interface AdminServerOptions {
  readonly place: SocketPlace;
  readonly limits: AdminLimits;
}

/** After a stop, for answers that are on their way. */
const LAST_ANSWERS_MS = 500;
/** Those that only look are not worth a line each. */
const LOOKS = new Set<AdminCall>(['List', 'Show', 'Peek', 'Status']);

export class AdminServer {
  readonly #handlers: Handlers;
  readonly #log: Logger;
  readonly #options: AdminServerOptions;
  #socket: PrivateSocket | undefined;
  #grpc: Server | undefined;
  #underWay = 0;

  constructor(ports: AdminPorts, log: Logger, options: AdminServerOptions) {
    this.#handlers = handlersOf(ports);
    this.#log = log;
    this.#options = options;
  }

  /** Where it listens; undefined before and after. */
  get path(): string | undefined {
    return this.#socket?.path;
  }

  /** Rejects with an `AdminSocketError`. */
  async start(): Promise<void> {
    const { place, limits } = this.#options;
    const grpc = new Server({
      'grpc.max_receive_message_length': REQUEST_BYTES_MAX,
      'grpc.max_send_message_length': REPLY_BYTES_MAX,
      'grpc.max_concurrent_streams': limits.requestsMax,
      'grpc.max_connection_idle_ms': limits.idleMs,
      'grpc.enable_channelz': 0,
    });
    grpc.addService(adminService(), this.#implementation());
    const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
    this.#socket = await PrivateSocket.listen(place, limits.connectionsMax, (socket) => {
      // HTTP/2 tells the errors of its session; a socket without a listener would end the process.
      socket.on('error', (error) => this.#log.debug({ error }, 'an admin connection failed'));
      injector.injectConnection(socket);
    });
    this.#grpc = grpc;
  }

  /** Takes no more requests, gives those under way a moment, and removes the socket. */
  async stop(): Promise<void> {
    const grpc = this.#grpc;
    const socket = this.#socket;
    this.#grpc = undefined;
    this.#socket = undefined;
    if (grpc === undefined || socket === undefined) return;
    const closed = socket.close();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LAST_ANSWERS_MS);
      grpc.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    grpc.forceShutdown();
    await closed;
  }

  #implementation(): Record<AdminCall, handleUnaryCall<object, object>> {
    return {
      List: this.#unary('List'),
      Show: this.#unary('Show'),
      Declare: this.#unary('Declare'),
      Delete: this.#unary('Delete'),
      Purge: this.#unary('Purge'),
      Peek: this.#unary('Peek'),
      Move: this.#unary('Move'),
      Seek: this.#unary('Seek'),
      DeleteGroup: this.#unary('DeleteGroup'),
      Status: this.#unary('Status'),
      ChangeMembers: this.#unary('ChangeMembers'),
      TransferLead: this.#unary('TransferLead'),
      Rescue: this.#unary('Rescue'),
      AddShard: this.#unary('AddShard'),
      HostShard: this.#unary('HostShard'),
    };
  }

  #unary<Name extends AdminCall>(name: Name): handleUnaryCall<object, object> {
    return ({ request }, answer) => {
      // The loader made the request by the same file as the types.
      const asked = request as AdminCalls[Name]['request'];
      this.#work(name, asked).then(
        (reply) => answer(null, reply),
        (error: unknown) => answer(this.#refusal(name, asked, error)),
      );
    };
  }

  async #work<Name extends AdminCall>(
    name: Name,
    request: AdminCalls[Name]['request'],
  ): Promise<AdminCalls[Name]['reply']> {
    const { requestsMax, requestMs } = this.#options.limits;
    if (this.#underWay >= requestsMax) throw new Busy(requestsMax);
    this.#underWay += 1;
    const done = this.#handlers[name](request).finally(() => {
      this.#underWay -= 1;
    });
    const reply = await inTime(done, requestMs);
    if (!LOOKS.has(name)) this.#log.info({ call: name, ...toldOf(request) }, 'an operator asked');
    return reply;
  }

  #refusal(call: AdminCall, request: object, error: unknown): Refusal {
    if (error instanceof Busy) return busyStatus(error.message);
    if (error instanceof Late) return statusOf(status.DEADLINE_EXCEEDED, error.message);
    if (error instanceof AdminError) {
      const { code, message } = error;
      const told = { call, ...toldOf(request), refusal: code, why: message };
      if (LOOKS.has(call)) this.#log.debug(told, 'refused');
      else this.#log.info(told, 'an operator was refused');
      return refusalOf(error);
    }
    this.#log.error({ call, ...toldOf(request), error }, 'an admin request failed');
    const text = error instanceof Error ? error.message : String(error);
    return statusOf(status.INTERNAL, `the broker failed unexpectedly: ${text}`);
  }
}

class Busy extends Error {
  constructor(most: number) {
    super(`the broker works on ${most} requests of operators already: try again`);
  }
}

class Late extends Error {
  constructor(ms: number) {
    super(`the broker had no answer within ${ms / 1000} s; it may still be done`);
  }
}

async function inTime<T>(done: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Late(ms)), ms);
  });
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Told {
  readonly name?: unknown;
  readonly group?: unknown;
  readonly to?: unknown;
  readonly shard?: unknown;
  readonly kind?: unknown;
  readonly id?: unknown;
}

/** What a line of the log says of a request: names, never contents. */
function toldOf(request: object): Record<string, unknown> {
  const fields = request as Told;
  const { name: queue, group, to, shard, kind, id } = fields;
  return { queue, group, to, shard, kind, id };
}
