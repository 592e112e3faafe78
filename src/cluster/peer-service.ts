/**
 * The methods of proto/raft.proto as gRPC has them, with serialisers that hand the bytes on as
 * they are: neither side makes objects of them. `batch.ts` has their form.
 */

import { Metadata, type MethodDefinition, type ServiceDefinition } from '@grpc/grpc-js';
import type { Channel } from './hello.ts';
import type { PeerError, PeerRefusal } from './refusals.ts';
import { PEER_REFUSALS } from './refusals.ts';

const asIs = (bytes: Buffer): Buffer => bytes;

function method(name: 'Receive' | 'Link'): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/fluxmq.raft.v1.PeerStreams/${name}`,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

export const RECEIVE = method('Receive');
export const LINK = method('Link');
export const PEER_SERVICE: ServiceDefinition = { Receive: RECEIVE, Link: LINK };

export function methodOf(channel: Channel): MethodDefinition<Buffer, Buffer> {
  return channel === 'link' ? LINK : RECEIVE;
}

const REFUSAL_TRAILER = 'fluxmq-refusal';

/** Tells the other side by which code it was turned away. */
export function refusalTrailer({ code }: PeerError): Metadata {
  const metadata = new Metadata();
  metadata.set(REFUSAL_TRAILER, code);
  return metadata;
}

/** Undefined where the stream ended for another reason. */
export function refusalIn(metadata: Metadata): PeerRefusal | undefined {
  const [named] = metadata.get(REFUSAL_TRAILER);
  return PEER_REFUSALS.find((code) => code === named);
}
