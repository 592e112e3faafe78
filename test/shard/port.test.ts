import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { type BatchPort, ThreadBatchPort, loopback } from '../../src/shard/port.ts';

function overThreads(): [BatchPort, BatchPort] {
  const { port1, port2 } = new MessageChannel();
  return [new ThreadBatchPort(port1), new ThreadBatchPort(port2)];
}

const open: BatchPort[] = [];
afterEach(() => {
  for (const port of open.splice(0)) port.close();
});

function made(pair: () => [BatchPort, BatchPort]): [BatchPort, BatchPort] {
  const [near, far] = pair();
  open.push(near, far);
  return [near, far];
}

/** The next `count` batches, each as text. */
function batches(port: BatchPort, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    const got: string[] = [];
    port.onBatch((bytes) => {
      got.push(Buffer.from(bytes).toString());
      if (got.length === count) resolve(got);
    });
  });
}

function closed(port: BatchPort): Promise<void> {
  return new Promise((resolve) => {
    port.onClosed(resolve);
  });
}

/** Alone in its memory, as `post` asks. */
function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

describe.each([
  ['within a thread', loopback],
  ['between threads', overThreads],
])('a port %s', (_, pair) => {
  it('hands over batches in order, both ways, also those posted before anyone listened', async () => {
    const [near, far] = made(pair);
    near.post(bytesOf('1'));
    near.post(bytesOf('2'));
    far.post(bytesOf('a'));
    const there = batches(far, 3);
    const back = batches(near, 1);
    near.post(bytesOf('3'));
    expect(await there).toEqual(['1', '2', '3']);
    expect(await back).toEqual(['a']);
  });

  it('tells no close while both sides are open', async () => {
    const [near, far] = made(pair);
    let closes = 0;
    near.onClosed(() => closes++);
    far.onClosed(() => closes++);
    far.onBatch((bytes) => far.post(bytes));
    for (let round = 0; round < 3; round++) {
      const echo = batches(near, 1);
      near.post(bytesOf('x'));
      expect(await echo).toEqual(['x']);
    }
    expect(closes).toBe(0);
  });

  it('takes the bytes away from the sender', () => {
    const [near] = made(pair);
    const bytes = bytesOf('gone');
    near.post(bytes);
    expect(bytes.length).toBe(0);
  });

  it('keeps a view of a larger buffer a view', async () => {
    const [near, far] = made(pair);
    const slab = new Uint8Array(1000).fill(120);
    near.post(new Uint8Array(slab.buffer, 0, 3));
    expect(await batches(far, 1)).toEqual(['xxx']);
  });

  it('never hands over during a post', async () => {
    const [near, far] = made(pair);
    let posting = false;
    const seen = new Promise<boolean>((resolve) => {
      far.onBatch(() => {
        resolve(posting);
      });
    });
    posting = true;
    near.post(bytesOf('x'));
    posting = false;
    expect(await seen).toBe(false);
  });

  it('still hands over what was posted before a close, and then tells the close once', async () => {
    const [near, far] = made(pair);
    const got = batches(far, 1);
    let times = 0;
    const gone = closed(far).then(() => times++);
    near.post(bytesOf('last words'));
    near.close();
    near.close();
    expect(await got).toEqual(['last words']);
    await gone;
    expect(times).toBe(1);
    far.post(bytesOf('into the void'));
    near.post(bytesOf('into the void'));
  });

  it('hands over nothing at the side that closed, and tells it no close', async () => {
    const [near, far] = made(pair);
    let events = 0;
    near.onBatch(() => events++);
    near.onClosed(() => events++);
    const gone = closed(far);
    far.onBatch(() => {});
    far.post(bytesOf('x'));
    near.close();
    await gone;
    expect(events).toBe(0);
  });

  it('hands over nothing more once its listener closed it, and tells no close before there is one', async () => {
    const [near, far] = made(pair);
    const got: string[] = [];
    let closes = 0;
    far.onClosed(() => closes++);
    near.onClosed(() => closes++);
    const first = new Promise<void>((resolve) => {
      far.onBatch((bytes) => {
        got.push(Buffer.from(bytes).toString());
        expect(closes).toBe(0);
        far.close();
        resolve();
      });
    });
    near.post(bytesOf('1'));
    near.post(bytesOf('2'));
    await first;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (closes > 0) resolve();
        else setImmediate(look);
      };
      look();
    });
    expect(got).toEqual(['1']);
    expect(closes).toBe(1);
  });
});
