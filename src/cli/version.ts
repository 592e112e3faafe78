/** The version of the package, from its package.json: read once, by commands only. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export function version(): string {
  const path = join(import.meta.dirname, '../../../package.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
  return manifest.version;
}
