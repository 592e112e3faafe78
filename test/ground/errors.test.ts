/** Every error code stands in docs/errors.md, and every code in there exists. */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  CHANGE_REFUSALS,
  INSTALL_REFUSALS,
  RESCUE_REFUSALS,
  PROPOSE_REFUSALS,
  RAFT_ERROR_CODES,
  TRANSFER_REFUSALS,
} from '#raft';
import { STORAGE_ERROR_CODES } from '#storage';
import { status } from '@grpc/grpc-js';
import { CLUSTER_REFUSALS } from '../../src/admin/cluster-port.ts';
import { ADMIN_CALL_ERRORS, REFUSAL_STATUS } from '../../src/admin/status.ts';
import { ADMIN_REFUSALS, PUBLISH_REFUSALS, SESSION_REFUSALS } from '../../src/broker/ports.ts';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { PEER_REFUSALS } from '../../src/cluster/refusals.ts';
import { CONFIG_ERROR_CODES } from '../../src/config/problem.ts';
import { ADMISSION_REFUSALS } from '../../src/protocol/mqtt/admission-refusals.ts';
import { FORMAT_REFUSALS, REFUSALS, SETTLE_REFUSALS } from '../../src/protocol/mqtt/refusals.ts';
import { SHARD_ERROR_CODES } from '../../src/shard/shard-error.ts';

/** The cells of each row of the table below a heading, without the head. */
async function tableBelow(heading: string): Promise<string[][]> {
  const page = await readFile(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
  const [, part = ''] = page.split(`\n## ${heading}`);
  const lines = (part.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('|'));
  const rows = lines.slice(2).map((line) => line.split('|').slice(1, -1));
  return rows.map((cells) => cells.map((cell) => cell.trim().replaceAll('`', '')));
}

const column = (rows: readonly string[][], at: number): (string | undefined)[] =>
  rows.map((cells) => cells[at]);

describe('docs/errors.md', () => {
  it('has every exit code with its number, and no other', async () => {
    const rows = await tableBelow('Exit codes');
    const told = Object.fromEntries(rows.map(([code, name]) => [name, Number(code)]));
    expect(told).toEqual(ExitCode);
  });

  it.each([
    ['Configuration', CONFIG_ERROR_CODES],
    ['A publish that was not taken', [...PUBLISH_REFUSALS, ...FORMAT_REFUSALS]],
    ['A settlement that was not done', SETTLE_REFUSALS],
    ['A client that was not let in', Object.keys(ADMISSION_REFUSALS)],
    ['What operators ask for', ADMIN_REFUSALS],
    ['A durable session that was not claimed or changed', SESSION_REFUSALS],
    ['A request that has no answer', ADMIN_CALL_ERRORS],
    ['The storage engine', STORAGE_ERROR_CODES],
    ['Consensus', RAFT_ERROR_CODES],
    ['A proposal that was not taken', PROPOSE_REFUSALS],
    ['A change of membership that was not made', CHANGE_REFUSALS],
    ['A transfer of leadership that was not begun', TRANSFER_REFUSALS],
    ['A change of a cluster that was not made', CLUSTER_REFUSALS],
    ['A checkpoint that was not installed', INSTALL_REFUSALS],
    ['A rescue that was not made', RESCUE_REFUSALS],
    ['Other nodes', PEER_REFUSALS],
    ['The shard', SHARD_ERROR_CODES],
  ] as const)('%s: every code, and no other', async (heading, codes) => {
    const told = column(await tableBelow(heading), 0);
    expect(told).toHaveLength(codes.length);
    expect(new Set(told)).toEqual(new Set<string>(codes));
  });

  it.each(['A publish that was not taken', 'A settlement that was not done'])(
    '%s: has the reason code of MQTT for each refusal',
    async (heading) => {
      for (const [name, reason] of await tableBelow(heading)) {
        const [code] = REFUSALS[name as keyof typeof REFUSALS];
        expect(reason, name).toBe(`0x${code.toString(16)}`);
      }
    },
  );

  it('has the reason code of MQTT for each client that is not let in', async () => {
    for (const [name, reason] of await tableBelow('A client that was not let in')) {
      const { reasonCode } = ADMISSION_REFUSALS[name as keyof typeof ADMISSION_REFUSALS];
      expect(reason, name).toBe(`0x${reasonCode.toString(16)}`);
    }
  });

  it('has the status of gRPC for each refusal of an operator', async () => {
    const rows = await tableBelow('What operators ask for');
    const told = Object.fromEntries(rows.map(([name, code]) => [name, code]));
    const codes = Object.entries(REFUSAL_STATUS).map(([name, code]) => [name, status[code]]);
    expect(told).toEqual(Object.fromEntries(codes));
  });

  it('each error class of the product is one of them, or ends at its own edge', async () => {
    const args = ['-rhoE', 'class \\w+ extends \\w*Error', 'src', 'storage'];
    const cwd = join(import.meta.dirname, '../..');
    const { stdout } = await promisify(execFile)('grep', args, { cwd });
    const classes = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[1]);
    // With codes: above. The others become one of them, or are bugs (MachineFault,
    // AssertionFailure).
    const known = new Set([
      'StorageError',
      'ShardError',
      'ConfigError',
      'CliError',
      'ListenError',
      'StartGivenUp',
      'AdminError',
      'SessionError',
      'AdminCallError',
      'AdminSocketError',
      'Busy',
      'Late',
      'Stopped',
      'DeclarationError',
      'PeerError',
      'PeerTlsError',
      'PeerStartError',
      'CodecError',
      'RecordFormatError',
      'MachineFault',
      'AssertionFailure',
      // Becomes a ListenError in the node.
      'DoorError',
      'ServerTlsError',
      'AccessFileError',
    ]);
    expect(classes.filter((name) => !known.has(name ?? ''))).toEqual([]);
  });
});
