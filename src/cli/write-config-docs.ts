/**
 * `npm run docs:config`: writes what is made from the table of keys. Part of the build, not a
 * command.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configurationPage, defaultsExample, jsonSchema } from '../config/reference.ts';

const root = join(import.meta.dirname, '../../..');
writeFileSync(join(root, 'docs/configuration.md'), configurationPage());
writeFileSync(join(root, 'docs/config.schema.json'), jsonSchema());
writeFileSync(join(root, 'examples/no-cluster.yaml'), defaultsExample());
