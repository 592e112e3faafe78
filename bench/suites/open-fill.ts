/**
 * Fills a log with batches and ends without closing it: DIRECTORY, COUNT, BYTES on the command
 * line.
 */

import { Log, nodeFiles } from '#storage';

const [directory = '', count = '0', bytes = '0'] = process.argv.slice(2);
const { log } = await Log.open({
  files: nodeFiles(),
  directory,
  now: Date.now,
  onFailure: (error) => {
    throw error;
  },
});
const payload = [Buffer.alloc(Number(bytes), 0x61)];
const total = Number(count);
let appended = 0;
const more = (): void => {
  while (appended < total && log.last - log.durable < 64) {
    log.append({ epoch: 1, timestampMs: Date.now(), recordCount: 1, payload });
    appended += 1;
  }
};
await new Promise<void>((resolve) => {
  log.onDurable((durable) => {
    if (durable >= total) resolve();
    else more();
  });
  more();
});
process.exit(0);
