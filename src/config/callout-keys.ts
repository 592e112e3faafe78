/** The configuration keys of the callout (docs/access.md). Part of the one table in `keys.ts`. */

import { duration, section, text, whole } from './schema.ts';

function pathProblem(path: string): string | undefined {
  return path.includes('\0') ? 'is not a path' : undefined;
}

/** What is wrong with it, in words. */
function urlProblem(written: string): string | undefined {
  if (written === '') return undefined;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') return 'is no https:// URL';
  const isHere = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol === 'http:' && !isHere) return 'would have it in the clear: https://';
  return url.username === '' ? undefined : 'has a user in it: name bearer_file';
}

export const callout = section(
  'A service of yours that says over HTTP whether a user whom the users file does not have may ' +
    'come in, and whether a client may do what no rule decides. What it does not answer in time ' +
    'is refused. Bounds are of each of the two.',
  {
    login_url: text({
      about: 'Where it is asked, by POST.',
      fallback: '',
      rule: 'https://..., or http:// to this machine',
      otherwise: 'nobody is asked',
      check: urlProblem,
    }),
    authorize_url: text({
      about:
        'Where it is asked, by POST, whether a client may publish, subscribe or consume what no ' +
        'rule decides.',
      fallback: '',
      rule: 'https://..., or http:// to this machine',
      otherwise: 'rules alone decide',
      check: urlProblem,
    }),
    ca_file: text({
      about: 'The authorities that its certificate is judged by, in PEM.',
      fallback: '',
      rule: 'a path',
      otherwise: 'those of Node.js',
      check: pathProblem,
    }),
    bearer_file: text({
      about: 'A secret that it is shown as a bearer token: one word, but for one line end.',
      fallback: '',
      rule: 'a path',
      otherwise: 'none',
      check: pathProblem,
    }),
    timeout: duration({
      about: 'The time of one question, from its sending to the end of the answer.',
      fallback: '2s',
      min: '10ms',
      max: '30s',
    }),
    max_requests: whole({
      about: 'Questions under way.',
      fallback: 16,
      min: 1,
      max: 1_000,
    }),
    max_waiting: whole({
      about:
        'Questions that wait for that; further clients are told that the broker is busy, and ' +
        'further packets refused.',
      fallback: 1_000,
      min: 0,
      max: 100_000,
    }),
    allow_ttl: duration({
      about:
        'For how long `allow` holds for the same user, password and client id; 0s: not at all.',
      fallback: '1m',
      min: '0s',
      max: '1d',
    }),
    deny_ttl: duration({
      about: 'The same of `deny` and `ignore`.',
      fallback: '10s',
      min: '0s',
      max: '1d',
    }),
    max_remembered: whole({
      about: 'Answers of each of these two kinds that are kept in memory.',
      fallback: 10_000,
      min: 0,
      max: 1_000_000,
    }),
    authorize_allow_ttl: duration({
      about:
        'For how long `allow` of authorize_url holds for the same user, client id, action and ' +
        'topic; 0s: not at all.',
      fallback: '1m',
      min: '0s',
      max: '1d',
    }),
    authorize_deny_ttl: duration({
      about: 'The same of `deny` and `ignore`.',
      fallback: '10s',
      min: '0s',
      max: '1d',
    }),
    authorize_max_remembered: whole({
      about: 'Answers of each of these two kinds that are kept in memory.',
      fallback: 100_000,
      min: 0,
      max: 10_000_000,
    }),
    max_failures: whole({
      about: 'Failures in a row after which the service is not asked for `pause`.',
      fallback: 5,
      min: 1,
      max: 1_000,
    }),
    pause: duration({
      about: 'How long it is left alone then. One question goes through after it, and decides.',
      fallback: '5s',
      min: '100ms',
      max: '5m',
    }),
  },
);
