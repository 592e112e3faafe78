/**
 * How a stream begins, as batches: a hello alone; and in its place, or at any time later, a
 * refusal, by which the port of a node tells why it ends the stream:
 *
 *   u8 length and text of the code (`PEER_REFUSALS`), u16 length and text for people
 *
 * Both fit into what is read of a stranger.
 */

import { FrameKind, type InFrame, encodeBatch } from './batch.ts';
import { FrameReader, type FrameWriter, malformed } from './frame-bytes.ts';
import { type Hello, helloBytes, readHello, writeHello } from './hello.ts';
import { HELLO_BYTES_MAX, REFUSAL_TEXT_MAX } from './peer-limits.ts';
import { PEER_REFUSALS, PeerError } from './refusals.ts';

const FIXED_BYTES = 1 + 2;
const TEXT = /^[\x20-\x7e]*$/;
const NOT_TEXT = /[^\x20-\x7e]/g;

export function helloBatch(hello: Hello): Buffer {
  const write = writeHello.bind(undefined, hello);
  return encodeBatch([{ kind: FrameKind.hello, shard: 0, bytes: helloBytes(hello), write }]);
}

export function refusalBatch({ code, message }: PeerError): Buffer {
  const text = message.replace(NOT_TEXT, '?').slice(0, REFUSAL_TEXT_MAX);
  const write = (writer: FrameWriter): void => {
    writer.u8(code.length);
    writer.ascii(code);
    writer.u16(text.length);
    writer.ascii(text);
  };
  const bytes = FIXED_BYTES + code.length + text.length;
  return encodeBatch([{ kind: FrameKind.refusal, shard: 0, bytes, write }]);
}

/** Of the first batch of a stream. Throws a `PeerError`. */
export function helloIn([frame, ...more]: readonly InFrame[], bytes: number): Hello {
  if (bytes > HELLO_BYTES_MAX) throw malformed('it begins with more than a hello');
  if (frame?.kind !== FrameKind.hello || more.length > 0) {
    throw malformed('it does not begin with a hello');
  }
  return readHello(frame.body);
}

/** Undefined where it is none. Throws a `PeerError` for one that no node would send. */
export function refusalIn([frame, ...more]: readonly InFrame[]): PeerError | undefined {
  if (frame?.kind !== FrameKind.refusal) return undefined;
  const reader = new FrameReader(frame.body);
  const named = reader.ascii(reader.u8());
  const text = reader.ascii(reader.u16());
  reader.end();
  const code = PEER_REFUSALS.find((each) => each === named);
  if (code === undefined || text.length > REFUSAL_TEXT_MAX || !TEXT.test(text) || more.length > 0) {
    throw malformed('a refusal that is none');
  }
  return new PeerError(code, text);
}
