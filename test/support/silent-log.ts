/** A logger that says nothing, for parts that want one. */

import type { Logger } from '../../src/telemetry/logger.ts';

const nothing = (): void => undefined;
export const silentLog: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
