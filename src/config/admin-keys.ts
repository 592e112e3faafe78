/** The keys of `admin`: how the command line reaches a running broker. */

import { section, text } from './schema.ts';

const SOCKET_RULE = '`auto`, `off` or a path';

function socketProblem(written: string): string | undefined {
  if (written === '') return 'is empty: write auto, off or a path';
  return written.includes('\0') ? 'is not a path' : undefined;
}

export const admin = section(
  'How `fluxmq queue` and `fluxmq group` reach a running broker. Whoever can open the socket may ' +
    'do everything, so only the user of the broker can.',
  {
    socket: text({
      about:
        'Where the Unix socket is: a path, relative to the working directory; `auto` is ' +
        '`admin.sock` in `data_dir`; `off` is none. The system takes paths of 107 bytes.',
      fallback: 'auto',
      rule: SOCKET_RULE,
      check: socketProblem,
    }),
  },
);
