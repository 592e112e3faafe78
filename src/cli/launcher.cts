#!/usr/bin/env node
/**
 * What `fluxmq` runs first. CommonJS, because the size of libuv's thread pool can be set only
 * before anything uses it, and an ES module's imports run before its first line: writes to the log
 * must not wait behind reads.
 */

process.env['UV_THREADPOOL_SIZE'] ??= '16';

void import('./main.ts');
