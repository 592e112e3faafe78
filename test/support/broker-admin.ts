/** What an operator asks of a broker process, over its admin socket. */

import { join } from 'node:path';
import { AdminClient } from '../../src/admin/client.ts';
import type { BrokerProcess } from './broker-process.ts';

const ADMIN_TIMEOUT_MS = 30_000;

export async function withAdmin<T>(
  { dataDirectory }: Pick<BrokerProcess, 'dataDirectory'>,
  work: (admin: AdminClient) => Promise<T>,
): Promise<T> {
  const admin = await AdminClient.open(join(dataDirectory, 'admin.sock'), ADMIN_TIMEOUT_MS);
  try {
    return await work(admin);
  } finally {
    admin.close();
  }
}
