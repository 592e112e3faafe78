/**
 * What one shard asks another: to take a message. As plain data (see requests.ts).
 *
 * ```
 *  request   ["take-transfer", command]     an encoded `take-transfer`, whole (codec.ts)
 *  reply     [how, next]                    one of ROUTE_ENDS, and above every number known there
 * ```
 *
 * It may be asked again and again, of this leader or the next: the answer stays what it was. What
 * does not fit is a CodecError.
 */

import { ROUTE_ENDS } from '../machine/command.ts';
import type { TakeTransferCommand } from '../machine/command.ts';
import { CommandDecoder, commandEnd } from './codec.ts';
import type { Arrived } from './other-shards.ts';
import { countIn, listIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export interface TransferRequest {
  readonly kind: 'take-transfer';
  readonly command: Uint8Array;
}

/** The command may be a view of a batch, and the request outlives that. */
export function transferRequestOf([command]: readonly PlainData[]): TransferRequest {
  if (!(command instanceof Uint8Array)) throw new CodecError('bad-value', 'bytes were expected');
  const owned = command.slice();
  takeOf(owned);
  return { kind: 'take-transfer', command: owned };
}

/** The command as it is read, valid for as long as its bytes; a CodecError: it is none, or more. */
export function takeOf(command: Uint8Array): Readonly<TakeTransferCommand> {
  const place = { node: '', boot: 0, number: 0, answeredUpTo: 0 };
  const end = commandEnd(command, 0);
  const read = new CommandDecoder().decode(command, 0, place);
  if (read.kind !== 'take-transfer' || end !== command.length) {
    throw new CodecError('bad-value', 'one message of another shard was expected');
  }
  return read;
}

export function arrivedData({ kind, next }: Arrived): PlainData {
  return [kind, next];
}

export function arrivedIn(data: PlainData): Arrived {
  const [word, next] = listIn(data);
  const kind = ROUTE_ENDS.find((each) => each === word);
  if (kind === undefined) throw new CodecError('bad-value', 'what became of a message');
  return { kind, next: countIn(next) };
}
