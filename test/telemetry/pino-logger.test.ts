/** S12: what is logged cannot tell a secret or a payload, whoever logs what. */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Logger } from '../../src/telemetry/logger.ts';
import { type LoggerOptions, createLogger } from '../../src/telemetry/pino-logger.ts';

function logged(
  options: Partial<LoggerOptions>,
  use: (log: Logger) => void,
): { lines: string[]; all: string } {
  const lines: string[] = [];
  const write = (line: string): void => {
    lines.push(line);
  };
  use(createLogger({ level: 'info', format: 'json', node: 'n', ...options, write }));
  return { lines, all: lines.join('') };
}

const formats = ['json', 'text'] as const;

describe('S12: secrets', () => {
  const secret = 'correct-horse';
  const bytes = new TextEncoder().encode(secret);

  it.each(formats)('no field of a secret name is shown, at any depth (%s)', (format) => {
    const names = ['password', 'Password', 'passphrase', 'client_secret', 'token', 'accessToken'];
    const more = [
      'authorization',
      'payload',
      'will_payload',
      'credentials',
      'tls.key',
      'privateKey',
    ];
    for (const name of [...names, ...more]) {
      const { all } = logged({ format }, (log) => {
        log.info(
          { [name]: secret, deep: { [name]: { x: secret }, list: [{ [name]: secret }] } },
          'm',
        );
      });
      expect(all, name).toContain('redacted');
      expect(all, name).not.toContain(secret);
    }
  });

  it.each(formats)('bytes are told by their count (%s)', (format) => {
    const { all } = logged({ format }, (log) => {
      log.info({ data: bytes, view: Buffer.from(secret), buffer: bytes.buffer, a: [bytes] }, 'm');
    });
    expect(all).toContain('[13 bytes]');
    expect(all).not.toContain(secret);
    expect(all).not.toContain('99,111');
  });

  it('an error is told with its code and its cause, and nothing else of it', () => {
    const cause = Object.assign(new Error('disk gone'), { code: 'EIO', password: secret });
    const error = Object.assign(new Error('cannot write', { cause }), { packet: bytes, secret });
    const { lines, all } = logged({}, (log) => log.error({ error }, 'm'));
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      error: { message: 'cannot write', cause: { code: 'EIO', message: 'disk gone' } },
    });
    expect(all).not.toContain(secret);
  });
});

describe('lines', () => {
  it('one line an event, whatever its fields hold, and of a bounded length', () => {
    const field = fc.oneof(fc.string({ unit: 'binary' }), fc.anything({ withBigInt: true }));
    fc.assert(
      fc.property(field, fc.constantFrom(...formats), (value, format) => {
        const { lines } = logged({ format }, (log) =>
          log.info({ value, text: 'x\ny\u001b[2J' }, 'm'),
        );
        expect(lines).toHaveLength(1);
        expect(lines[0]).toMatch(/^[^\p{Cc}]*\n$/u);
      }),
    );
    const endless: Record<string, unknown> = { text: 'x'.repeat(1e6), list: Array(1e5).fill('y') };
    endless['self'] = endless;
    const { all } = logged({}, (log) => log.info(endless, 'm'));
    expect(all.length).toBeLessThan(20_000);
  });

  it('a level that is off costs nothing: its fields are not even read', () => {
    const { lines } = logged({ level: 'warn' }, (log) => {
      const fields = {
        get costly(): string {
          throw new Error('read');
        },
      };
      log.info(fields, 'm');
      log.debug(fields, 'm');
      log.warn({ x: 1 }, 'told');
    });
    expect(lines).toHaveLength(1);
  });

  it('JSON has level, time, node and message', () => {
    const { lines } = logged({ node: 'node-7' }, (log) => log.info({ client: 'c' }, 'connected'));
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      node: 'node-7',
      client: 'c',
      message: 'connected',
    });
  });

  it('a field cannot pass itself off as level, node or message', () => {
    const fields = { level: 'error', node: 'x', message: 'forged', time: 'never' };
    const { lines } = logged({ node: 'n' }, (log) => log.info(fields, 'true'));
    const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    expect(line).toMatchObject({ level: 'info', node: 'n', message: 'true' });
  });
});
