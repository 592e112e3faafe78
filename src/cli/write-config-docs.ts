/**
 * `npm run docs:config`: writes what is made from the tables of keys and of metrics. Part of the
 * build, not a command.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configurationPage, defaultsExample, jsonSchema } from '../config/reference.ts';
import { metricsPage } from '../ops/metrics-page.ts';

const root = join(import.meta.dirname, '../../..');
writeFileSync(join(root, 'docs/configuration.md'), configurationPage());
writeFileSync(join(root, 'docs/config.schema.json'), jsonSchema());
writeFileSync(join(root, 'docs/metrics.md'), metricsPage());
writeFileSync(join(root, 'examples/no-cluster.yaml'), defaultsExample());
