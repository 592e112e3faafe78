/**
 * Each forbidden import and global of the layers (docs/architecture.md) is written into a copy of
 * the sources, and the compiler or the linter must refuse it; what is allowed must pass both. One
 * run of each tool for the whole table. A refusal counts only with a code that speaks of layers, so
 * that a typing error in a probe proves nothing.
 */

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** The compiler and the linter over all sources, on a machine that does other things too. */
const TOOLS_MAX_MS = 300_000;
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');

interface Probe {
  readonly folder: string;
  readonly code: string;
  readonly what: string;
}

/** Imports of a module in every form that brings its code in. */
function forms(specifier: string, name: string): string[] {
  return [
    `import { ${name} } from '${specifier}';\nexport const probe = ${name};`,
    `import '${specifier}';\nexport const probe = 1;`,
    `export { ${name} } from '${specifier}';`,
    `import * as all from '${specifier}';\nexport const probe = all;`,
  ];
}

function imports(folder: string, specifier: string, name: string): Probe[] {
  return forms(specifier, name).map((code) => ({
    folder,
    code,
    what: code.split('\n')[0] ?? code,
  }));
}

function expression(folder: string, code: string): Probe {
  return { folder, code: `export const probe = (): unknown => ${code};`, what: code };
}

const IMPURE = [
  'Date.now()',
  'new Date()',
  'Math.random()',
  'Promise.resolve(1)',
  'globalThis',
  "globalThis['setTimeout']",
  'setTimeout(() => 1, 1)',
  'setInterval(() => 1, 1)',
  'setImmediate(() => 1)',
  'queueMicrotask(() => 1)',
  'performance.now()',
  'process.hrtime()',
  'console.log(1)',
  'Buffer.alloc(1)',
  'new TextEncoder()',
  'new TextDecoder()',
  'crypto.randomUUID()',
  'fetch("http://127.0.0.1")',
  "new Function('return this')()",
  "Function('return this')()",
  "eval('1')",
  "(() => 1).constructor('return this')()",
  'new WeakRef({})',
  'new FinalizationRegistry(() => 1)',
  'new SharedArrayBuffer(1)',
  'new Intl.Collator()',
  "'a'.localeCompare('b')",
];

const FORBIDDEN: readonly Probe[] = [
  ...imports('storage', 'node:net', 'createServer'),
  ...imports('storage', 'node:fs', 'readFileSync'),
  ...imports('storage', 'fs', 'readFileSync'),
  ...imports('storage', 'node:fs/promises', 'open'),
  ...imports('storage/log', 'node:fs', 'readFileSync'),
  ...imports('storage', '../src/broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('storage', '../src/machine/committed.ts', 'committed'),
  ...imports('storage', 'classic-level', 'ClassicLevel'),
  ...IMPURE.map((code) => expression('src/machine', code)),
  ...IMPURE.map((code) => expression('raft/core', code)),
  {
    folder: 'raft/core',
    code: 'export async function probe(): Promise<void> {}',
    what: 'async function',
  },
  {
    folder: 'raft/core',
    code: '/// <reference types="node" />\nexport const probe = 1;',
    what: 'reference types="node"',
  },
  ...imports('raft/core', 'node:net', 'createServer'),
  ...imports('raft/core', 'node:fs', 'readFileSync'),
  ...imports('raft/core', 'msgpackr', 'pack'),
  ...imports('raft/core', '#storage', 'StorageError'),
  ...imports('raft/core', '../../storage/errors.ts', 'StorageError'),
  ...imports('raft/core', '../host/probe-target.ts', 'target'),
  ...imports('raft/core', '../../src/broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('raft/host', 'node:net', 'createServer'),
  ...imports('raft/host', 'node:fs', 'readFileSync'),
  ...imports('raft/host', 'classic-level', 'ClassicLevel'),
  ...imports('raft/host', '../../storage/errors.ts', 'StorageError'),
  ...imports('raft/host', '../../src/broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('storage', '../raft/raft.ts', 'isBulk'),
  {
    folder: 'src/machine',
    code: 'export async function probe(): Promise<void> {}',
    what: 'async function',
  },
  {
    folder: 'src/machine',
    code: '/// <reference types="node" />\nexport const probe = 1;',
    what: 'reference types="node"',
  },
  ...imports('src/machine', 'node:net', 'createServer'),
  ...imports('src/machine', 'node:fs', 'readFileSync'),
  ...imports('src/machine', 'msgpackr', 'pack'),
  ...imports('src/machine', '#storage', 'StorageError'),
  ...imports('src/machine', '../broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('src/machine', '../telemetry/logger.ts', 'x'),
  ...imports('src/shard', '../protocol/mqtt/reason-codes.ts', 'ReasonCode'),
  ...imports('src/shard', '../broker/probe-target.ts', 'target'),
  ...imports('src/shard', '../config/probe-target.ts', 'target'),
  ...imports('src/shard', '../telemetry/probe-target.ts', 'target'),
  ...imports('src/shard', '../../storage/errors.ts', 'StorageError'),
  ...imports('src/shard', '../probe-target.ts', 'target'),
  ...imports('src/shard', 'classic-level', 'ClassicLevel'),
  ...imports('src/shard', 'node:net', 'createServer'),
  ...imports('src/broker', '../shard/probe-target.ts', 'target'),
  ...imports('src/broker', '../protocol/mqtt/reason-codes.ts', 'ReasonCode'),
  ...imports('src/broker', '../probe-target.ts', 'target'),
  ...imports('src/broker', '../config/probe-target.ts', 'target'),
  ...imports('src/broker', '../machine/probe-target.ts', 'target'),
  ...imports('src/broker', '#storage', 'StorageError'),
  ...imports('src/broker', '../../storage/errors.ts', 'StorageError'),
  ...imports('src/broker', 'node:net', 'createServer'),
  ...imports('src/broker', 'node:fs', 'readFileSync'),
  ...imports('src/broker', 'node:worker_threads', 'Worker'),
  ...imports('src/protocol/mqtt', '../../broker/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../machine/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../shard/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../config/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../telemetry/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../other/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '#storage', 'StorageError'),
  ...imports('src/protocol/mqtt', '../../../storage/errors.ts', 'StorageError'),
  ...imports('src/protocol/mqtt', 'node:fs', 'readFileSync'),
  ...imports('src/protocol/mqtt', 'node:tls', 'createServer'),
  ...imports('src/protocol/mqtt', 'node:http', 'createServer'),
  ...imports('src/protocol/mqtt', '../doors/net-door.ts', 'NetDoor'),
  ...imports('src/protocol/doors', '../mqtt/reason-codes.ts', 'ReasonCode'),
  ...imports('src/protocol/doors', '../../broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('src/protocol/doors', '../../config/probe-target.ts', 'target'),
  ...imports('src/protocol/doors', '#storage', 'StorageError'),
  ...imports('src/protocol/doors', 'node:worker_threads', 'Worker'),
  ...imports('src/admin', '../shard/probe-target.ts', 'target'),
  ...imports('src/admin', '../machine/probe-target.ts', 'target'),
  ...imports('src/admin', '../broker/probe-target.ts', 'target'),
  ...imports('src/admin', '../protocol/mqtt/reason-codes.ts', 'ReasonCode'),
  ...imports('src/admin', '../telemetry/probe-target.ts', 'target'),
  ...imports('src/admin', '../probe-target.ts', 'target'),
  ...imports('src/admin', '#storage', 'StorageError'),
  ...imports('src/admin', '../../storage/errors.ts', 'StorageError'),
  ...imports('src/admin', 'node:http2', 'createServer'),
  ...imports('src/cluster', '../shard/probe-target.ts', 'target'),
  ...imports('src/cluster', '../machine/probe-target.ts', 'target'),
  ...imports('src/cluster', '../broker/probe-target.ts', 'target'),
  ...imports('src/cluster', '../config/probe-target.ts', 'target'),
  ...imports('src/cluster', '../protocol/mqtt/reason-codes.ts', 'ReasonCode'),
  ...imports('src/cluster', '../telemetry/probe-target.ts', 'target'),
  ...imports('src/cluster', '../probe-target.ts', 'target'),
  ...imports('src/cluster', '#storage', 'StorageError'),
  ...imports('src/cluster', '../../storage/errors.ts', 'StorageError'),
  ...imports('src/cluster', 'node:http2', 'createServer'),
  ...imports('src/cluster', 'node:worker_threads', 'Worker'),
  ...imports('src/shard', '../cluster/probe-target.ts', 'target'),
  ...imports('src/broker', '../cluster/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../cluster/probe-target.ts', 'target'),
  ...imports('src/broker', '../admin/probe-target.ts', 'target'),
  ...imports('src/shard', '../admin/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../admin/probe-target.ts', 'target'),
  ...imports('src/config', '../machine/probe-target.ts', 'target'),
  ...imports('src/config', '../broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('src/config', '#storage', 'StorageError'),
  ...imports('src/access', '../broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('src/access', '../protocol/mqtt/reason-codes.ts', 'ReasonCode'),
  ...imports('src/access', '../config/probe-target.ts', 'target'),
  ...imports('src/access', '../probe-target.ts', 'target'),
  ...imports('src/access', '#storage', 'StorageError'),
  ...imports('src/access', 'node:net', 'createServer'),
  ...imports('src/broker', '../access/probe-target.ts', 'target'),
  ...imports('src/protocol/mqtt', '../../access/probe-target.ts', 'target'),
  ...imports('src/protocol/doors', '../../access/probe-target.ts', 'target'),
  ...imports('src/config', '../access/probe-target.ts', 'target'),
  ...imports('src/telemetry', '../broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('src/telemetry', '../config/probe-target.ts', 'target'),
  ...imports('src/ops', '../broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('src/ops', '../config/probe-target.ts', 'target'),
  ...imports('src/ops', '../shard/probe-target.ts', 'target'),
  ...imports('src/ops', '../probe-target.ts', 'target'),
  ...imports('src/ops', '#storage', 'StorageError'),
  ...imports('src/ops', 'node:fs', 'readFileSync'),
  ...imports('src/ops', 'node:worker_threads', 'Worker'),
  ...imports('src/config', '../ops/probe-target.ts', 'target'),
  ...imports('src/shard', '../ops/probe-target.ts', 'target'),
  ...imports('src/broker', '../ops/probe-target.ts', 'target'),
  ...imports('jepsen', '#storage', 'StorageError'),
  ...imports('jepsen', '#raft', 'isBulk'),
  ...imports('jepsen/cluster', '../../src/broker/ports.ts', 'ENQUEUE_REFUSALS'),
  ...imports('jepsen/cluster', '../../storage/errors.ts', 'StorageError'),
  // The proof of durability is made in one file.
  ...['src/shard', 'src', 'src/cli'].flatMap((folder) =>
    imports(
      folder,
      `${relative(folder, 'src/machine').replace(/^(?!\.)/, './')}/committed.ts`,
      'committed',
    ).filter(({ code }) => /\bcommitted }/.test(code)),
  ),
  // Promises that nobody waits for, and types switched off.
  expression('src/broker', '{ Promise.reject(new Error("lost")); }'),
  { folder: 'src/broker', code: 'export const probe: any = 1;', what: 'any' },
  {
    folder: 'src/broker',
    code: '// @ts-ignore\nexport const probe: string = 1;',
    what: '@ts-ignore',
  },
];

const ALLOWED: readonly Probe[] = [
  {
    folder: 'raft/core',
    code: "import { target } from './probe-target.ts';\nexport const probe = target;",
    what: 'its own modules',
  },
  {
    folder: 'raft/host',
    code:
      "import * as storage from '#storage';\n" +
      "import { target } from '../core/probe-target.ts';\n" +
      'export const probe = [storage, target] as const;',
    what: 'storage and the core',
  },
  ...imports('src/machine', './probe-target.ts', 'target').filter(({ code }) => /from/.test(code)),
  {
    folder: 'src/shard',
    code:
      "import * as storage from '#storage';\n" +
      "import { ENQUEUE_REFUSALS } from '../broker/ports.ts';\n" +
      "import type { Logger } from '../telemetry/logger.ts';\n" +
      "import { target } from '../machine/probe-target.ts';\n" +
      'export const probe = [storage, ENQUEUE_REFUSALS, target] as const;\n' +
      'export type Probe = Logger;',
    what: 'storage, ports, machine',
  },
  {
    folder: 'src/broker',
    code:
      "import { ENQUEUE_REFUSALS } from './ports.ts';\n" +
      "import type { QueueId } from '../machine/ids.ts';\n" +
      'export const probe = ENQUEUE_REFUSALS;\nexport type Probe = QueueId;',
    what: 'ports and types of the machine',
  },
  {
    folder: 'src/protocol/mqtt',
    code:
      "import { createServer } from 'node:net';\n" +
      "import { ENQUEUE_REFUSALS } from '../../broker/ports.ts';\n" +
      "import type { Logger } from '../../telemetry/logger.ts';\n" +
      'export const probe = [createServer, ENQUEUE_REFUSALS] as const;\n' +
      'export type Probe = Logger;',
    what: 'ports and sockets',
  },
  {
    folder: 'src/protocol/doors',
    code:
      "import { createServer } from 'node:http';\n" +
      "import { createServer as createTlsServer } from 'node:tls';\n" +
      "import { doorCounters } from '../transport.ts';\n" +
      'export const probe = [createServer, createTlsServer, doorCounters] as const;',
    what: 'HTTP, TLS and the port of transports',
  },
  {
    folder: 'src/access',
    code:
      "import { scrypt } from 'node:crypto';\n" +
      "import { open } from 'node:fs/promises';\n" +
      "import type { Logger } from '../telemetry/logger.ts';\n" +
      'export const probe = [scrypt, open] as const;\nexport type Probe = Logger;',
    what: 'files and cryptography',
  },
  {
    folder: 'src/ops',
    code:
      "import { createServer } from 'node:http';\n" +
      "import { Registry } from 'prom-client';\n" +
      "import type { Logger } from '../telemetry/logger.ts';\n" +
      'export const probe = [createServer, Registry] as const;\nexport type Probe = Logger;',
    what: 'HTTP and prom-client',
  },
  {
    folder: 'src/cluster',
    code:
      "import { createServer } from 'node:tls';\n" +
      "import { connect } from 'node:net';\n" +
      "import { readFile } from 'node:fs/promises';\n" +
      "import type { Logger } from '../telemetry/logger.ts';\n" +
      'export const probe = [createServer, connect, readFile] as const;\n' +
      'export type Probe = Logger;',
    what: 'TLS, sockets and files',
  },
  {
    folder: 'src/admin',
    code:
      "import { createServer } from 'node:net';\n" +
      "import { lstat } from 'node:fs/promises';\n" +
      "import { Server } from '@grpc/grpc-js';\n" +
      "import { AdminError } from '../broker/ports.ts';\n" +
      "import type { Logger } from '../telemetry/logger.ts';\n" +
      'export const probe = [createServer, lstat, Server, AdminError] as const;\n' +
      'export type Probe = Logger;',
    what: 'ports, sockets and gRPC',
  },
];

/** Compiler errors and lint rules that speak of layers. */
const LAYER_CODES = new Set([
  'TS6307', // file is not listed in the project
  'TS6059', // file is not under rootDir
  'TS2307', // cannot find module
  'TS2882', // cannot find module of a side-effect import
  'TS2591', // needs @types/node
  'TS2580',
  'TS2584',
  'TS2304', // cannot find name
  'TS2552',
  'TS2688',
  'TS2868',
  'eslint(no-restricted-imports)',
  'eslint(no-restricted-globals)',
  'eslint(no-restricted-properties)',
  'eslint(no-eval)',
  'eslint(no-new-func)',
  'eslint(no-implied-eval)',
  'oxc(no-async-await)',
  'import(no-unassigned-import)',
  'typescript(triple-slash-reference)',
  'typescript(ban-ts-comment)',
  'typescript(no-explicit-any)',
  'typescript(no-floating-promises)',
]);

function run(directory: string, program: string, args: readonly string[]): Promise<string> {
  const binary = join(ROOT, 'node_modules/.bin', program);
  return new Promise((resolve) => {
    const options = { cwd: directory, maxBuffer: 256 * 1024 * 1024 };
    execFile(binary, args, options, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

const fileOf = (kind: string, index: number, probe: Probe): string =>
  `${probe.folder}/probe-${kind}-${index}.ts`;

describe('layers', () => {
  let directory = '';
  const codes = new Map<string, string[]>();

  function note(file: string, code: string): void {
    const list = codes.get(file);
    if (list === undefined) codes.set(file, [code]);
    else list.push(code);
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fluxmq-layers-'));
    await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
    for (const name of [
      'storage',
      'raft',
      'src',
      'jepsen',
      'package.json',
      '.oxlintrc.json',
      'tsconfig.base.json',
    ]) {
      // The evidence of runs of the harness may be large.
      const filter = (path: string): boolean => !path.startsWith(join(ROOT, 'jepsen/runs'));
      await cp(join(ROOT, name), join(directory, name), { recursive: true, filter });
    }
    const targets = [
      'access',
      'admin',
      'broker',
      'cluster',
      'config',
      'ops',
      'telemetry',
      'machine',
      'shard',
      '.',
      'protocol/other',
    ];
    for (const folder of targets) {
      await mkdir(join(directory, 'src', folder), { recursive: true });
      const path = join(directory, 'src', folder, 'probe-target.ts');
      await writeFile(path, 'export const target = 1;\n');
    }
    for (const folder of ['core', 'host']) {
      const path = join(directory, 'raft', folder, 'probe-target.ts');
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, 'export const target = 1;\n');
    }
    for (const [kind, probes] of [['no', FORBIDDEN] as const, ['yes', ALLOWED] as const]) {
      for (const [index, probe] of probes.entries()) {
        const path = join(directory, fileOf(kind, index, probe));
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, `${probe.code}\n`);
      }
    }
    const [compiled, linted] = await Promise.all([
      run(directory, 'tsc', ['-b', 'src', 'raft', 'jepsen', '--pretty', 'false']),
      run(directory, 'oxlint', ['-f', 'json', 'src', 'storage', 'raft', 'jepsen']),
    ]);
    for (const [, file, code] of compiled.matchAll(/^(\S+?)\(\d+,\d+\): error (TS\d+):/gm)) {
      note(file ?? '', code ?? '');
    }
    const report = JSON.parse(linted.slice(linted.indexOf('{'))) as {
      diagnostics: { filename: string; code: string }[];
    };
    for (const { filename, code } of report.diagnostics) note(filename, code);
  }, TOOLS_MAX_MS);

  afterAll(() => rm(directory, { recursive: true, force: true }));

  it.each(FORBIDDEN.map((probe, index) => ({ ...probe, file: fileOf('no', index, probe) })))(
    '$folder: $what is refused',
    ({ file }) => {
      expect((codes.get(file) ?? []).filter((code) => LAYER_CODES.has(code))).not.toEqual([]);
    },
  );

  it.each(ALLOWED.map((probe, index) => ({ ...probe, file: fileOf('yes', index, probe) })))(
    '$folder: $what is allowed',
    ({ file }) => {
      expect(codes.get(file) ?? []).toEqual([]);
    },
  );
});
