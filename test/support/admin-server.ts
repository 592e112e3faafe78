/**
 * An admin server in the test's own process, on the socket of a data directory below `test/.tmp`:
 * what the command line finds there is scripted.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ADMIN_DEFAULTS } from '../../src/admin/limits.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { scratchDirectory } from './broker-process.ts';
import { FakeClusterAdmin } from './fake-cluster-admin.ts';
import { FakeQueueAdmin } from './fake-queue-admin.ts';
import { silentLog } from './silent-log.ts';

export class ScriptedBroker {
  readonly admin = new FakeQueueAdmin();
  readonly cluster = new FakeClusterAdmin();
  readonly folder: string;
  readonly #server: AdminServer;

  private constructor(folder: string) {
    this.folder = folder;
    const place = { path: join(folder, 'admin.sock'), ownFolder: true };
    this.#server = new AdminServer({ queues: () => this.admin, cluster: this.cluster }, silentLog, {
      place,
      limits: ADMIN_DEFAULTS,
    });
  }

  static async started(name: string): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker(await scratchDirectory(name));
    await broker.#server.start();
    return broker;
  }

  async stop(): Promise<void> {
    await this.#server.stop();
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
