/** FluxMQ as a library: a configuration, and a node that runs by it in this process. */

import { version } from './cli/version.ts';
import type { Config } from './config/config.ts';
import { Node } from './node.ts';
import { logSettings } from './options.ts';
import { startShards } from './shard-threads.ts';
import type { Logger } from './telemetry/logger.ts';
import { createLogger } from './telemetry/pino-logger.ts';

export { type Config, ConfigError, loadConfig, parseConfig } from './config/config.ts';
export { AdminSocketError } from './admin/socket.ts';
export { ListenError, type Listening, type Node } from './node.ts';
export type { Logger } from './telemetry/logger.ts';

/**
 * Starts a node; rejects with a `StorageError`, a `ListenError`, an `AdminSocketError` or a
 * `ConfigError`. Whoever calls it ends the process when `failed` resolves: a node whose store
 * failed cannot be used again.
 */
export function startNode(config: Config, log?: Logger): Promise<Node> {
  const terminal = process.stderr.isTTY;
  const logger = log ?? createLogger(logSettings(config, terminal));
  return Node.start({ config, log: logger, version: version(), startShards, terminal });
}
