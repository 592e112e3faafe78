/** FluxMQ as a library: a configuration, and a node that runs by it in this process. */

export { type Config, ConfigError, loadConfig, parseConfig } from './config/config.ts';
