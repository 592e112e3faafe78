/** What the keys of `access` have to be together. */

import type { Config } from './keys.ts';
import type { ConfigErrorCode } from './problem.ts';
import { PUBLIC_ALGORITHMS, SECRET_ALGORITHMS } from './token-keys.ts';

type Tell = (code: ConfigErrorCode, key: string, text: string) => void;

export function checkAccess(
  { access, server, allow_anonymous: anonymous }: Config,
  tell: Tell,
): void {
  const tokens = checkTokens(access.jwt, tell);
  const asked = access.callout.login_url !== '';
  if (access.scram.enabled && access.users_file === '') {
    const text = 'SCRAM knows the users of the users file: name users_file too';
    tell('conflict', 'access.scram.enabled', text);
  }
  if (access.rules_file === '') {
    const text = (what: string): string =>
      `${what} without rules may do nothing: name rules_file too`;
    if (access.users_file !== '') tell('conflict', 'access.users_file', text('users'));
    if (asked) tell('conflict', 'access.callout.login_url', text('users of a service'));
    if (tokens) tell('conflict', 'access.jwt', text('tokens'));
    if (access.callout.authorize_url !== '') {
      const words = 'it is asked about what no rule decides: name rules_file too';
      tell('conflict', 'access.callout.authorize_url', words);
    }
    return;
  }
  const { tls, wss } = server.mqtt;
  const shown = [tls, wss].some((door) => door.client_certificates !== 'off');
  if (access.users_file !== '' || tokens || asked || anonymous) return;
  if (access.certificate_users && shown) return;
  const text =
    'nobody could come in: name access.users_file, access.callout.login_url or a key file of ' +
    'access.jwt, or have clients show certificates';
  tell('conflict', 'access.rules_file', text);
}

/** Whether there are tokens. */
function checkTokens(jwt: Config['access']['jwt'], tell: Tell): boolean {
  const { secret_file: secret, public_key_file: publicKey, jwks_file: jwks } = jwt;
  const named = [secret, publicKey, jwks].filter((path) => path !== '').length;
  const algorithms = jwt.algorithms ?? [];
  const key = 'access.jwt.algorithms';
  if (named > 1) {
    tell('conflict', 'access.jwt', 'has more than one key file: tokens are checked with one');
  }
  if (named === 0) {
    if (algorithms.length > 0) tell('conflict', key, 'there are no tokens: name a key file too');
    return false;
  }
  if (algorithms.length === 0) {
    const text = 'the algorithms that a token may have are not taken from it: name them';
    tell('conflict', key, text);
  }
  const fitting = secret === '' ? PUBLIC_ALGORITHMS : SECRET_ALGORITHMS;
  const wrong = algorithms.find((name) => !fitting.includes(name));
  if (wrong !== undefined) {
    const what = secret === '' ? 'public keys' : 'a secret';
    tell('conflict', key, `${wrong} is not for ${what}: ${fitting.join(', ')} are`);
  }
  return true;
}
