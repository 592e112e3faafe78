/**
 * All that hostile peers do to a broker (`hostile-peers.ts`), for as long as this process lives:
 * those that stay come first, and then the others, one after the other, again and again. They would
 * be on other machines: here they get of the processor what broker and good clients leave.
 */

import { writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { HostilePeers } from './hostile-peers.ts';
import { BEGUN } from './steady.ts';

export interface HarassRun {
  readonly port: number;
  /** Connections that say nothing behind their CONNECT. */
  readonly idle: number;
}

const SLOW = 500;
const SLOW_BYTE_MS = 100;
const ANNOUNCERS = 500;
const SUBSCRIBERS = 100;
const SUBSCRIPTIONS_EACH = 1_000;
const BOMBERS = 10;
const NAMESAKES = 100;
const NICE = 15;
/** Nice values count within a session alone; the session itself has one too (sched(7)). */
const SESSION_NICE = '/proc/self/autogroup';

/** Whoever wants to know how full the broker is asks the broker. */
const atOnce = async (): Promise<boolean> => true;

/** Tells by `BEGUN` on standard output that those who stay are there; never resolves. */
export async function harass({ port, idle }: HarassRun): Promise<never> {
  setPriority(NICE);
  await lowerSession();
  const peers = new HostilePeers(port);
  await peers.idle(idle);
  await peers.announcesAndWaits(ANNOUNCERS);
  await peers.subscriptions(SUBSCRIBERS, SUBSCRIPTIONS_EACH);
  await peers.deaf('flood', atOnce);
  process.stdout.write(BEGUN);
  const slow = async (): Promise<void> => {
    for (;;) await peers.slowloris(SLOW, SLOW_BYTE_MS);
  };
  const others = async (): Promise<never> => {
    for (;;) {
      await peers.announcesTooMuch();
      await peers.wildcardBombs(BOMBERS);
      await peers.oneName(NAMESAKES);
      await peers.slowButWhole();
      await peers.deaf('flood', atOnce);
    }
  };
  const [, never] = await Promise.all([slow(), others()]);
  return never;
}

/** Where the scheduler knows no sessions there is no such file, and the process is all there is. */
async function lowerSession(): Promise<void> {
  try {
    await writeFile(SESSION_NICE, `${NICE}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
