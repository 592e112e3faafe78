/** The keys of `access` as what src/access takes. Pure; paths are made absolute. */

import { resolve } from 'node:path';

import type { AccessSettings } from './access/access.ts';
import type { CalloutFiles, CalloutSettings } from './access/callout.ts';
import type { LoginSettings } from './access/logins.ts';
import type { TokenKeyFile } from './access/token-keys.ts';
import type { TokenSettings } from './access/tokens.ts';
import type { VerdictSettings } from './access/verdicts.ts';
import type { Config } from './config/config.ts';
import { httpPost } from './http-post.ts';

/** Undefined: there are no users, and whoever is in may do everything. */
export function accessSettings(config: Config): AccessSettings | undefined {
  const { access, server, allow_anonymous: anonymous } = config;
  if (access.rules_file === '') return undefined;
  const { tls, wss } = server.mqtt;
  const shown = [tls, wss].some((door) => door.client_certificates !== 'off');
  return {
    files: {
      users: access.users_file === '' ? undefined : resolve(access.users_file),
      rules: resolve(access.rules_file),
      tokenKeys: tokenKeyFile(access.jwt),
      callout: calloutFiles(access.callout),
    },
    logins: loginSettings(access.callout),
    verdicts: verdictSettings(access.callout),
    scram: access.scram.enabled ? { iterations: access.scram.iterations } : undefined,
    tokens: tokenSettings(access.jwt),
    anonymous,
    certificateUsers: access.certificate_users && shown,
    maxAtATime: access.max_password_checks,
    maxWaiting: access.max_waiting_checks,
    maxRemembered: access.max_remembered_passwords,
  };
}

/** Undefined: there are no tokens. */
function tokenKeyFile(jwt: Config['access']['jwt']): TokenKeyFile | undefined {
  const { algorithms = [] } = jwt;
  const named = [
    { kind: 'secret', path: jwt.secret_file },
    { kind: 'public-key', path: jwt.public_key_file },
    { kind: 'jwks', path: jwt.jwks_file },
  ] as const;
  const file = named.find(({ path }) => path !== '');
  return file && { kind: file.kind, path: resolve(file.path), algorithms };
}

function tokenSettings(jwt: Config['access']['jwt']): TokenSettings | undefined {
  if (tokenKeyFile(jwt) === undefined) return undefined;
  const given = (text: string): string | undefined => (text === '' ? undefined : text);
  return {
    from: jwt.from,
    checkUserName: jwt.check_user_name,
    algorithms: jwt.algorithms ?? [],
    issuer: given(jwt.issuer),
    audience: given(jwt.audience),
    userClaim: jwt.user_claim,
    groupsClaim: given(jwt.groups_claim),
    rightsClaim: given(jwt.rights_claim),
    toleranceMs: jwt.clock_tolerance,
  };
}

/** Undefined: no service is asked. */
function calloutFiles({
  login_url: loginUrl,
  authorize_url: authorizeUrl,
  ca_file: ca,
  bearer_file: bearer,
}: Callout): CalloutFiles | undefined {
  if (loginUrl === '' && authorizeUrl === '') return undefined;
  const file = (path: string): string | undefined => (path === '' ? undefined : resolve(path));
  return { ca: file(ca), bearer: file(bearer) };
}

type Callout = Config['access']['callout'];

function loginSettings(callout: Callout): LoginSettings | undefined {
  if (callout.login_url === '') return undefined;
  return {
    ...calloutSettings(callout, callout.login_url),
    allowedMs: callout.allow_ttl,
    deniedMs: callout.deny_ttl,
    maxKept: callout.max_remembered,
  };
}

function verdictSettings(callout: Callout): VerdictSettings | undefined {
  if (callout.authorize_url === '') return undefined;
  return {
    ...calloutSettings(callout, callout.authorize_url),
    allowedMs: callout.authorize_allow_ttl,
    deniedMs: callout.authorize_deny_ttl,
    maxKept: callout.authorize_max_remembered,
  };
}

function calloutSettings(callout: Callout, url: string): CalloutSettings {
  return {
    url: new URL(url),
    timeoutMs: callout.timeout,
    post: httpPost,
    maxAtATime: callout.max_requests,
    maxWaiting: callout.max_waiting,
    failures: callout.max_failures,
    pauseMs: callout.pause,
  };
}
