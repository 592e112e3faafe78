/** What a client hears that is not let in: one word for CONNACK each (MQTT 5.0 section 3.2.2.2). */

import type { Admission, ExchangeStep } from '../access.ts';
import type { ConnectRefusal } from './handshake.ts';
import { ReasonCode } from './reason-codes.ts';

type Refused = Extract<Admission | ExchangeStep, { readonly refused: string }>['refused'];

export const ADMISSION_REFUSALS = {
  'bad-credentials': {
    reasonCode: ReasonCode.badUserNameOrPassword,
    text: 'the user name or the password is wrong',
  },
  'not-authorized': {
    reasonCode: ReasonCode.notAuthorized,
    text: 'a user name and a password, or a certificate, are needed',
  },
  busy: {
    reasonCode: ReasonCode.serverBusy,
    text: 'it cannot be found out now who the client is: try again later',
  },
  malformed: {
    reasonCode: ReasonCode.notAuthorized,
    text: 'the authentication data is no message of its method',
  },
  'channel-binding': {
    reasonCode: ReasonCode.notAuthorized,
    text: 'the authentication method has no channel binding here',
  },
  method: {
    reasonCode: ReasonCode.badAuthenticationMethod,
    text: 'there is no such authentication method',
  },
} as const satisfies Record<Refused | 'method', ConnectRefusal>;
