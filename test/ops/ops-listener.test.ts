/** Health and metrics over HTTP, as a supervisor, Prometheus and a stranger ask for them. */

import { type IncomingMessage, request } from 'node:http';
import { type Socket, connect } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Figures, type OpsSources, SEPARATOR, type Stage } from '../../src/ops/figures.ts';
import { OpsListener } from '../../src/ops/ops-listener.ts';
import type { OpsOptions } from '../../src/ops/ops-options.ts';

const OPTIONS: OpsOptions = {
  host: '127.0.0.1',
  port: 0,
  maxConnections: 8,
  requestTimeoutMs: 300,
  maxQueues: 3,
  maxGroups: 3,
  liveWithinMs: 1_000,
};

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** A node whose state the test sets. */
class Node {
  stage: Stage = 'running';
  storeFailure: string | undefined;
  silentMs = 5;
  asked = 0;
  shards: () => Promise<Figures> | undefined = () => Promise.resolve(new Map());

  sources(): OpsSources {
    const writes = { count: 3, sumMs: 12, within: Array.from({ length: 14 }, () => 3) };
    const delayMs = { p50: 1, p99: 2, max: 3 };
    return {
      stage: () => this.stage,
      storeFailure: () => this.storeFailure,
      closedListeners: () => [],
      node: () => new Map([['mqtt/connections', 4]]),
      shards: () => {
        this.asked += 1;
        return this.shards();
      },
      mainThread: () => ({ silentMs: 1, delayMs, busyMs: 1_500, writes }),
      shardThread: () => ({ silentMs: this.silentMs, delayMs, busyMs: 2_500, writes }),
    };
  }
}

const open: { stop(): Promise<void> }[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of open.splice(0)) await listener.stop();
});

async function listen(node: Node, options: Partial<OpsOptions> = {}): Promise<number> {
  const listener = new OpsListener({ ...OPTIONS, ...options }, node.sources(), quiet);
  await listener.start();
  open.push(listener);
  return listener.address?.port ?? 0;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

function ask(port: number, path: string, method = 'GET', body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', path, method, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

const json = async (port: number, path: string): Promise<[number, unknown]> => {
  const { status, body } = await ask(port, path);
  return [status, JSON.parse(body)];
};

/** Resolves with what came when the other side has closed. */
function raw(port: number, bytes: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  sockets.push(socket);
  let text = '';
  return new Promise((resolve) => {
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    socket.on('error', () => resolve(text));
    socket.on('close', () => resolve(text));
    socket.write(bytes);
  });
}

describe('health over HTTP', () => {
  it('/livez says whether the threads turn', async () => {
    const node = new Node();
    const port = await listen(node);
    expect(await json(port, '/livez')).toEqual([
      200,
      { status: 'alive', silent_ms: { main: 1, shards: 5 } },
    ]);
    node.silentMs = 5_000;
    expect((await json(port, '/livez'))[0]).toBe(503);
    node.stage = 'starting';
    expect((await json(port, '/livez'))[0]).toBe(200);
  });

  it('/readyz tells every reason, as JSON', async () => {
    const node = new Node();
    const port = await listen(node);
    expect(await json(port, '/readyz')).toEqual([200, { status: 'ready', reasons: [] }]);
    node.storeFailure = 'write failed';
    node.stage = 'stopping';
    const [status, body] = await json(port, '/readyz');
    expect(status).toBe(503);
    expect(body).toEqual({
      status: 'not-ready',
      reasons: [
        { code: 'stopping', detail: 'the broker was asked to stop', blocks: true },
        { code: 'store-failed', detail: 'write failed', blocks: true },
      ],
    });
  });

  it('a shard that never answers makes it not ready, in time, and is not asked again', async () => {
    const node = new Node();
    node.shards = () => new Promise(() => undefined);
    const port = await listen(node, { requestTimeoutMs: 10_000 });
    for (let each = 0; each < 2; each++) {
      const [status, body] = await json(port, '/readyz');
      expect(status).toBe(503);
      expect(body).toMatchObject({ reasons: [{ code: 'shard-silent' }] });
      await new Promise((done) => {
        setTimeout(done, 600);
      });
    }
    expect(node.asked).toBe(1);
    const { body } = await ask(port, '/metrics');
    expect(body).toContain('fluxmq_shard_up 0\n');
    expect(body).not.toContain('fluxmq_other_queues');
  });

  it('a shard that refuses is one that does not answer', async () => {
    const node = new Node();
    node.shards = () => Promise.reject(new Error('gone'));
    const port = await listen(node);
    expect((await json(port, '/readyz'))[0]).toBe(503);
  });
});

describe('metrics over HTTP', () => {
  it('are in the text format, with every kind of series', async () => {
    const node = new Node();
    node.shards = () =>
      Promise.resolve(
        new Map([
          ['messages/completed', 7],
          ['apply/busy-ms', 1_500],
          ['alarm/stuck/orders/1-1', 1],
          [['depth', 'orders'].join(SEPARATOR), 12],
          [['lag', 'orders', 'mail@eu/#'].join(SEPARATOR), 5],
        ]),
      );
    const { status, headers, body } = await ask(await listen(node), '/metrics');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(body.split('\n')).toEqual(
      expect.arrayContaining([
        '# TYPE fluxmq_settled_total counter',
        'fluxmq_settled_total{outcome="completed"} 7',
        'fluxmq_apply_seconds_total 1.5',
        'fluxmq_mqtt_connections 4',
        'fluxmq_alarms{kind="stuck"} 1',
        'fluxmq_alarms{kind="damaged"} 0',
        'fluxmq_queue_depth_messages{queue="orders"} 12',
        'fluxmq_group_lag_messages{queue="orders",group="mail@eu/#"} 5',
        '# TYPE fluxmq_log_write_seconds histogram',
        'fluxmq_log_write_seconds_bucket{le="0.0001"} 3',
        'fluxmq_log_write_seconds_bucket{le="+Inf"} 3',
        'fluxmq_log_write_seconds_sum 0.012',
        'fluxmq_log_write_seconds_count 3',
        'fluxmq_event_loop_busy_seconds_total{thread="shards"} 2.5',
        'fluxmq_event_loop_delay_seconds{thread="main",part="p99"} 0.002',
        'fluxmq_shard_up 1',
      ]),
    );
    // What nobody counts is missing, not zero.
    expect(body).not.toContain('fluxmq_runs');
    expect(body).not.toContain('outcome="requeued"');
  });

  it('S5: a hostile name of a queue or group stays the value of one label', async () => {
    const node = new Node();
    const hostile = ['a"} 1\nfluxmq_shard_up 0', 'x\\', '__proto__'];
    node.shards = () =>
      Promise.resolve(
        new Map(
          hostile.flatMap((name): [string, number][] => [
            [['depth', name].join(SEPARATOR), 1],
            [['lag', name, name].join(SEPARATOR), 2],
          ]),
        ),
      );
    const { body } = await ask(await listen(node), '/metrics');
    expect(body.split('\n')).toEqual(
      expect.arrayContaining([
        'fluxmq_queue_depth_messages{queue="a\\"} 1\\nfluxmq_shard_up 0"} 1',
        'fluxmq_queue_depth_messages{queue="x\\\\"} 1',
        'fluxmq_group_lag_messages{queue="__proto__",group="__proto__"} 2',
      ]),
    );
    expect(body.split('\n').filter((line) => line.startsWith('fluxmq_shard_up'))).toEqual([
      'fluxmq_shard_up 1',
    ]);
  });

  it('a series is gone with its queue', async () => {
    const node = new Node();
    let queue = 'old';
    node.shards = () => Promise.resolve(new Map([[['depth', queue].join(SEPARATOR), 1]]));
    const port = await listen(node);
    expect((await ask(port, '/metrics')).body).toContain('queue="old"');
    queue = 'new';
    await vi.waitFor(
      async () => {
        const { body } = await ask(port, '/metrics');
        expect(body).toContain('queue="new"');
        expect(body).not.toContain('queue="old"');
      },
      { timeout: 3_000 },
    );
  });

  it('a flood of scrapes asks the shards once', async () => {
    const node = new Node();
    const port = await listen(node);
    const bodies = await Promise.all(Array.from({ length: 8 }, () => ask(port, '/metrics')));
    expect(new Set(bodies.map(({ body }) => body)).size).toBe(1);
    expect(node.asked).toBe(1);
  });
});

describe('a stranger', () => {
  it('finds nothing else, and nothing of what he wrote in the answer', async () => {
    const port = await listen(new Node());
    for (const path of ['/', '/metrics/', '//metrics', '/../etc/passwd', '/livez%00', '*']) {
      const { status, body } = await ask(port, path);
      expect([path, status]).toEqual([path, 404]);
      expect(body).not.toContain('passwd');
    }
    expect((await ask(port, '/livez?verbose=1')).status).toBe(200);
  });

  it('may only ask', async () => {
    const port = await listen(new Node());
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const { status, headers } = await ask(port, '/readyz', method);
      expect([method, status, headers.allow]).toEqual([method, 405, 'GET, HEAD']);
    }
    const { status, body } = await ask(port, '/readyz', 'HEAD');
    expect([status, body]).toEqual([200, '']);
  });

  it('sends a body that nobody reads, and is closed', async () => {
    const port = await listen(new Node());
    const { status, headers } = await ask(port, '/livez', 'POST', 'x'.repeat(100_000));
    expect([status, headers.connection]).toEqual([405, 'close']);
  });

  it('P3: is cut when he says nothing, is too slow, or says too much', async () => {
    const port = await listen(new Node());
    const began = performance.now();
    const answers = await Promise.all([
      raw(port, ''),
      raw(port, 'GET /livez HTTP/1.1\r\nhost: a\r\n'),
      raw(port, `GET /livez HTTP/1.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`),
      raw(port, 'this is no HTTP\r\n\r\n'),
    ]);
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(answers[2]).toMatch(/^HTTP\/1.1 431 /);
    expect(answers[3]).toMatch(/^HTTP\/1.1 400 /);
    expect((await ask(port, '/livez')).status).toBe(200);
  });

  it('gets no more connections than configured', async () => {
    const port = await listen(new Node(), { maxConnections: 2, requestTimeoutMs: 5_000 });
    const held = [connect({ port, host: '127.0.0.1' }), connect({ port, host: '127.0.0.1' })];
    sockets.push(...held);
    for (const socket of held) {
      await new Promise((done) => {
        socket.once('connect', done);
      });
    }
    await expect(ask(port, '/livez')).rejects.toThrow();
    held[0]?.destroy();
    await vi.waitFor(async () => expect((await ask(port, '/livez')).status).toBe(200));
  });
});

it('an address in use is refused', async () => {
  const port = await listen(new Node());
  await expect(listen(new Node(), { port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
