/**
 * The TLS part of the way in: a server that listens nowhere, is handed sockets, and gives those
 * back that are through, with who they are. Deadlines are those of the door.
 *
 * `required`: without a certificate of the authority nobody comes in. `optional`: a certificate
 * that is shown must be good all the same, so that nobody is a stranger who wanted to be known.
 */

import type { Socket } from 'node:net';
import { type Server, type TLSSocket, createServer } from 'node:tls';
import { certifiedIdentity } from './certified-identity.ts';
import type { ServerTls } from './server-tls.ts';

export interface TlsOptions {
  readonly tls: ServerTls;
  readonly clients: 'off' | 'optional' | 'required';
}

export interface TlsHooks {
  readonly through: (socket: Socket, identity: string | undefined) => void;
  readonly refused: (socket: Socket, why: string) => void;
}

export class TlsWay {
  readonly #options: TlsOptions;
  readonly #hooks: TlsHooks;
  readonly #server: Server;

  constructor(options: TlsOptions, hooks: TlsHooks) {
    this.#options = options;
    this.#hooks = hooks;
    const { tls, clients } = options;
    this.#server = createServer({
      ...tls.material.context,
      requestCert: clients !== 'off',
      rejectUnauthorized: clients === 'required',
    });
    tls.onChange(({ context }) => this.#server.setSecureContext(context));
    this.#server.on('secureConnection', (socket) => this.#secured(socket));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // Node.js has a code there, whatever its types say; the error then tells of the end only.
      const unauthorized: unknown = socket.authorizationError;
      const code = typeof unauthorized === 'string' ? unauthorized : error.code;
      hooks.refused(socket, code ?? error.message);
    });
    const { ocspResponse } = tls.material;
    if (ocspResponse === undefined) return;
    this.#server.on('OCSPRequest', (_certificate, _issuer, answer) => {
      answer(null, tls.material.ocspResponse ?? ocspResponse);
    });
  }

  take(socket: Socket): void {
    this.#server.emit('connection', socket);
  }

  #secured(socket: TLSSocket): void {
    // Whoever holds it for a while may have no listener: it would end the process.
    socket.on('error', () => undefined);
    const { tls, clients } = this.#options;
    const certificate = clients === 'off' ? {} : socket.getPeerCertificate();
    if (Object.keys(certificate).length === 0) {
      if (clients === 'required') this.#refuse(socket, 'it showed no certificate');
      else this.#hooks.through(socket, undefined);
      return;
    }
    if (!socket.authorized) {
      this.#refuse(socket, String(socket.authorizationError));
      return;
    }
    const identity = certifiedIdentity(certificate, tls.identity);
    if (identity === undefined) {
      this.#refuse(socket, `its certificate has no single name of the kind ${tls.identity}`);
      return;
    }
    this.#hooks.through(socket, identity);
  }

  #refuse(socket: Socket, why: string): void {
    this.#hooks.refused(socket, why);
    socket.destroy();
  }
}
