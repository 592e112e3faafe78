/**
 * The configuration keys of users and rights (docs/access.md). Part of the one table in `keys.ts`.
 */

import { callout } from './callout-keys.ts';
import { onOff, section, text, whole } from './schema.ts';
import { jwt } from './token-keys.ts';

function pathProblem(path: string): string | undefined {
  return path.includes('\0') ? 'is not a path' : undefined;
}

const scram = section(
  'Enhanced authentication of MQTT 5.0 (docs/access.md): SCRAM-SHA-256 against the users file. ' +
    'The password never comes to the broker, and the client knows the broker by its keys.',
  {
    enabled: onOff({
      about:
        'Whether CONNECT may name `SCRAM-SHA-256`; without it each method is refused. `fluxmq ' +
        'user add` then writes keys for it too.',
      fallback: false,
    }),
    iterations: whole({
      about:
        'Iterations of PBKDF2 in the keys that `fluxmq user add` writes. The client computes ' +
        'them at each login, the broker never; whoever has the users file computes them for each ' +
        'guess.',
      fallback: 100_000,
      min: 4_096,
      max: 10_000_000,
    }),
  },
);

export const access = section(
  'Who may come in, and what they may do (docs/access.md). With `rules_file`, what no rule ' +
    'allows is denied, and without a user name nobody comes in. On SIGHUP the files are read ' +
    'again, and taken as a whole or not at all.',
  {
    users_file: text({
      about: 'The users and by what their passwords are known: `fluxmq user` writes it.',
      fallback: '',
      rule: 'a path',
      otherwise: 'nobody has a password',
      check: pathProblem,
    }),
    rules_file: text({
      about: 'The rules: who may do what, the first one that matches decides.',
      fallback: '',
      rule: 'a path',
      otherwise: 'there are no users, and whoever is in may do everything',
      check: pathProblem,
    }),
    certificate_users: onOff({
      about:
        'Whether the identity of a client certificate (`server.tls.identity`) is its user name, ' +
        'for which no password is asked.',
      fallback: true,
    }),
    scram,
    jwt,
    callout,
    max_password_checks: whole({
      about:
        'Passwords that are checked at a time. Each takes a thread of four, which the disk needs ' +
        'too, and the memory that its parameters say (16 MiB with those of `fluxmq user add`). ' +
        'As many tokens are checked beside them.',
      fallback: 2,
      min: 1,
      max: 64,
    }),
    max_waiting_checks: whole({
      about: 'Clients that may wait for that; further ones are told that the broker is busy.',
      fallback: 1_000,
      min: 0,
      max: 100_000,
    }),
    max_remembered_passwords: whole({
      about:
        'Users whose last right password is known again by a keyed hash in memory, so that it is ' +
        'not checked anew when they come back; 0: none.',
      fallback: 10_000,
      min: 0,
      max: 1_000_000,
    }),
  },
);
