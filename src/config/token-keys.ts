/**
 * The configuration keys of JSON web tokens (docs/access.md). Part of the one table in `keys.ts`.
 */

import { choice, duration, onOff, section, text, texts } from './schema.ts';

/** Signed with a secret that both sides know. */
export const SECRET_ALGORITHMS: readonly string[] = ['HS256', 'HS384', 'HS512'];
/** Signed with a private key, and checked with the public one. */
export const PUBLIC_ALGORITHMS: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const ALGORITHMS = [...SECRET_ALGORITHMS, ...PUBLIC_ALGORITHMS];
const CLAIM_LENGTH_MAX = 256;

function pathProblem(path: string): string | undefined {
  return path.includes('\0') ? 'is not a path' : undefined;
}

function keyFile(about: string): ReturnType<typeof text> {
  return text({ about, fallback: '', rule: 'a path', otherwise: 'none', check: pathProblem });
}

function claim(about: string, otherwise: string): ReturnType<typeof text> {
  return text({
    about,
    fallback: '',
    rule: `up to ${CLAIM_LENGTH_MAX} characters`,
    otherwise,
    check: lengthProblem,
  });
}

function lengthProblem(written: string): string | undefined {
  const isGood = written.length <= CLAIM_LENGTH_MAX;
  return isGood ? undefined : `is longer than ${CLAIM_LENGTH_MAX} characters`;
}

function algorithmProblem(name: string): string | undefined {
  return ALGORITHMS.includes(name) ? undefined : `is none of ${ALGORITHMS.join(', ')}`;
}

export const jwt = section(
  'JSON web tokens in place of passwords: there are some when one of the three files is named. ' +
    'On SIGHUP it is read again with the other files.',
  {
    secret_file: keyFile(
      'The secret that tokens are signed with, as it is but for one line end: 32 bytes for ' +
        'HS256, 48 for HS384, 64 for HS512, or more.',
    ),
    public_key_file: keyFile('The public key that tokens are checked with, in PEM.'),
    jwks_file: keyFile('A set of public keys (JWKS) that tokens are checked with: up to 100.'),
    algorithms: texts({
      about: 'The algorithms that a token may be signed with. There is no default.',
      rule: ALGORITHMS.join(', '),
      otherwise: 'none: needed with a key file',
      example: '[]',
      least: 0,
      most: ALGORITHMS.length,
      check: algorithmProblem,
    }),
    from: choice({
      about: 'The field of CONNECT in which a token comes.',
      choices: ['password', 'user_name'],
      fallback: 'password',
    }),
    check_user_name: onOff({
      about:
        'Whether a user name beside the token has to be that of the token. Without this it is ' +
        'not looked at.',
      fallback: true,
    }),
    issuer: claim('What `iss` has to be.', 'whatever it is'),
    audience: claim('What `aud` has to be, or have among its own.', 'whatever it is'),
    user_claim: text({
      about: 'The claim that gives the user name, or the path of one, with dots.',
      fallback: 'sub',
      rule: `1 to ${CLAIM_LENGTH_MAX} characters`,
      check: (written) => (written === '' ? 'is empty' : lengthProblem(written)),
    }),
    groups_claim: claim(
      'The claim that gives the groups, or the path of one, with dots: a list of texts.',
      'a token gives no groups',
    ),
    rights_claim: claim(
      'The claim that gives rights beside the rules, or the path of one: ' +
        '`{"publish": [pattern, ...], "subscribe": [...], "consume": [...], "declare": [...]}`.',
      'a token gives no rights',
    ),
    clock_tolerance: duration({
      about: 'By which the clocks of issuer and broker may differ: `exp`, `nbf`.',
      fallback: '30s',
      min: '0s',
      max: '5m',
    }),
  },
);
