/** Who is no node, or not the one that it says, at either end of a connection between nodes. */

import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { PeerMessage } from '#raft';
import { FrameKind, type InFrame, decodeBatch, encodeBatch } from '../../src/cluster/batch.ts';
import { BatchReader } from '../../src/cluster/batch-reader.ts';
import type { FrameWriter } from '../../src/cluster/frame-bytes.ts';
import { refusalIn } from '../../src/cluster/greeting.ts';
import type { Hello } from '../../src/cluster/hello.ts';
import { messageBytes, writeMessage } from '../../src/cluster/message-codec.ts';
import type { PeerTls } from '../../src/cluster/peer-tls.ts';
import type { PeerError } from '../../src/cluster/refusals.ts';
import { until } from './peer-world.ts';

/** As `n2` says it to `n1`. */
export const HELLO: Hello = {
  oldest: 2,
  newest: 2,
  channel: 'control',
  incarnation: 1,
  cluster: 'c',
  from: 'n2',
  to: 'n1',
};

export function messageBatch(...messages: readonly PeerMessage[]): Buffer {
  return encodeBatch(
    messages.map((message) => ({
      kind: FrameKind.message,
      shard: 1,
      bytes: messageBytes(message),
      write: (writer: FrameWriter) => writeMessage(message, writer),
    })),
  );
}

export function flipped(batch: Buffer, at: number): Buffer {
  batch[at] = (batch[at] ?? 0) ^ 1;
  return batch;
}

/** Keeps what it is told, until it is closed. */
export class Stranger {
  readonly socket: Socket;
  readonly batches: (readonly InFrame[])[] = [];
  isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    const reader = new BatchReader((batch) => this.batches.push(decodeBatch(Buffer.from(batch))));
    socket.on('error', () => undefined).on('data', (bytes: Buffer) => reader.take(bytes));
    socket.on('close', () => {
      this.isClosed = true;
    });
  }

  static secured(port: number, { ca, key, cert }: PeerTls): Stranger {
    const checkServerIdentity = (): undefined => undefined;
    return new Stranger(
      connectTls({ host: '127.0.0.1', port, ca, key, cert, checkServerIdentity }),
    );
  }

  /** Of the batches that came. */
  get kinds(): (number | undefined)[] {
    return this.batches.map(([frame]) => frame?.kind);
  }

  get refusal(): PeerError | undefined {
    return this.batches.map((frames) => refusalIn(frames)).find((error) => error !== undefined);
  }

  close(): void {
    this.socket.destroy();
  }

  async closed(): Promise<this> {
    await until(() => this.isClosed);
    return this;
  }
}
