/** O4: another service says who may come in: bounded, cached, and whatever fails lets nobody in. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer } from 'node:https';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Access } from '../../src/access/access.ts';
import { CALLOUT_OUTCOMES } from '../../src/access/callout.ts';
import type { LoginSettings } from '../../src/access/logins.ts';
import { httpPost } from '../../src/http-post.ts';
import { AccessFiles, reload } from '../support/access-files.ts';
import { TlsFiles } from '../support/tls-files.ts';
import { until } from '../support/mqtt-server.ts';

type Question = Readonly<Record<string, unknown>>;

let files: AccessFiles;
let nowMs = 0;
let asked: Question[] = [];
let shown: IncomingMessage['headers'][] = [];
/** What the service does with a question. */
let serve: (response: ServerResponse, question: Question) => void;
const service = createServer((request, response) => {
  void request.toArray().then((parts: Buffer[]) => {
    const question = JSON.parse(Buffer.concat(parts).toString()) as Question;
    asked.push(question);
    shown.push(request.headers);
    serve(response, question);
  });
});

const say =
  (answer: unknown, status = 200) =>
  (response: ServerResponse): void => {
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
    response.writeHead(status).end(text);
  };

beforeAll(async () => {
  files = await AccessFiles.make();
  await files.user('ann', 'tea');
  await files.rule('allow group ops publish ops', 'allow * publish open');
  await writeFile(join(files.folder, 'bearer'), 'abc.def\n');
  await new Promise<void>((done) => {
    service.listen(0, '127.0.0.1', done);
  });
});

beforeEach(() => {
  asked = [];
  shown = [];
  nowMs = 0;
});

afterAll(async () => {
  service.closeAllConnections();
  service.close();
  await files.remove();
});

async function make(settings: Partial<LoginSettings> = {}, ca?: string): Promise<Access> {
  const { port } = service.address() as AddressInfo;
  const logins: LoginSettings = {
    url: new URL(`http://127.0.0.1:${port}/login`),
    timeoutMs: 20_000,
    post: httpPost,
    maxAtATime: 2,
    maxWaiting: 2,
    failures: 3,
    pauseMs: 5000,
    allowedMs: 1000,
    deniedMs: 100,
    maxKept: 2,
    ...settings,
  };
  const callout = { ca, bearer: join(files.folder, 'bearer') };
  const paths = { users: files.users, rules: files.rules, callout };
  return files.read({ files: paths, logins, now: () => nowMs });
}

async function admitted(access: Access, user = 'eve', password = 'x'): Promise<string> {
  const claim = { user, password: Buffer.from(password), certificate: undefined, clientId: 'c' };
  const found = await access.admit({ ...claim, isGone: () => false });
  return 'rights' in found ? 'in' : found.refused;
}

/** Those that are not 0. */
function outcomes(access: Access): Record<string, number> {
  const counters = Object.entries(access.logins?.callout.counters ?? {});
  return Object.fromEntries(counters.filter(([, count]) => count > 0));
}

describe('the service', () => {
  test('is asked about whom the users file does not have, and about nobody else', async () => {
    const access = await make();
    serve = say({ result: 'allow', groups: ['ops'] });
    const claim = { user: 'eve', password: Buffer.from('x'), certificate: undefined };
    const found = await access.admit({ ...claim, clientId: 'c1', isGone: () => false });
    if (!('rights' in found)) throw new Error('was refused');
    expect(found.rights.may('publish', 'ops')).toBe(true);
    expect(access.mayPublish({ user: 'eve', clientId: 'c1' }, 'ops')).toBe(true);
    // Granted on another node, or before a restart: the will that was let in stands.
    expect(access.isTakenBack({ user: 'eve', clientId: 'c1' }, 'ops')).toBe(false);
    expect(access.isTakenBack({ user: 'eve', clientId: 'c1' }, 'elsewhere')).toBe(true);
    expect(access.isTakenBack({ user: 'eve', clientId: 'c2' }, 'ops')).toBe(false);
    expect(access.mayPublish({ user: 'eve', clientId: 'c2' }, 'ops')).toBe(false);
    const question = { version: 1, action: 'login', user: 'eve', client_id: 'c1', password: 'x' };
    expect(asked).toEqual([question]);
    expect(shown[0]).toMatchObject({ authorization: 'Bearer abc.def' });
    expect(await admitted(access, 'ann', 'tea')).toBe('in');
    expect(await admitted(access, 'ann', 'coffee')).toBe('bad-credentials');
    expect(asked).toHaveLength(1);
  });

  test('denies, or ignores whom it does not know: then nobody else is left to ask', async () => {
    const access = await make();
    serve = say({ result: 'deny' });
    expect(await admitted(access)).toBe('bad-credentials');
    serve = say({ result: 'ignore' });
    expect(await admitted(access, 'bob')).toBe('bad-credentials');
    expect(outcomes(access)).toEqual({ deny: 1, ignore: 1 });
  });

  test('is told bytes that are no text as base64, and nothing that is longer than may be', async () => {
    const access = await make();
    serve = say({ result: 'allow' });
    const password = Buffer.from([0xff, 0xfe]);
    const claim = { user: 'eve', password, certificate: undefined, clientId: 'c' };
    await access.admit({ ...claim, isGone: () => false });
    expect(asked).toMatchObject([{ password_base64: '//4=' }]);
    expect(await admitted(access, 'eve', 'x'.repeat(1025))).toBe('bad-credentials');
    expect(await admitted(access, 'e'.repeat(257))).toBe('bad-credentials');
    expect(asked).toHaveLength(1);
  });

  test.each([
    ['another status', say({ result: 'allow' }, 500)],
    ['a redirect', say({ result: 'allow' }, 302)],
    ['no JSON', say('yes')],
    ['no result', say({ allow: true })],
    ['a result that there is not', say({ result: 'Allow' })],
    ['groups that cannot be', say({ result: 'allow', groups: ['a b'] })],
    ['too long', say(`{"result":"allow","x":"${'x'.repeat(20_000)}"}`)],
    ['cut short', (response: ServerResponse) => response.destroy()],
    ['cut in its middle', (response: ServerResponse) => cut(response)],
  ])('whose answer is %s lets nobody in', async (_, how) => {
    const access = await make();
    serve = how;
    expect(await admitted(access)).toBe('busy');
    expect(outcomes(access)).toEqual({ error: 1 });
  });

  test('that is silent lets nobody in, and for a bounded time', async () => {
    const access = await make({ timeoutMs: 20 });
    serve = () => {};
    expect(await admitted(access)).toBe('busy');
    serve = (response) => response.writeHead(200).write('{"result":');
    expect(await admitted(access, 'bob')).toBe('busy');
    expect(outcomes(access)).toEqual({ timeout: 2 });
  });

  test('that is not there lets nobody in', async () => {
    const access = await make({ url: new URL('http://127.0.0.1:1/') });
    expect(await admitted(access)).toBe('busy');
    expect(outcomes(access)).toEqual({ error: 1 });
  });

  test('is asked so much at a time; so many wait, and the next is told at once', async () => {
    const access = await make();
    const held: ServerResponse[] = [];
    serve = (response) => held.push(response);
    const all = ['a', 'b', 'c', 'd', 'e'].map((user) => admitted(access, user));
    expect(await all[4]).toBe('busy');
    await until(() => held.length === 2);
    expect(access.logins?.callout.waiting).toBe(2);
    for (let answered = 0; answered < 4; answered++) {
      await until(() => held.length > answered);
      const response = held[answered];
      if (response !== undefined) say({ result: 'allow' })(response);
    }
    expect(await Promise.all(all)).toEqual(['in', 'in', 'in', 'in', 'busy']);
    expect(outcomes(access)).toEqual({ allow: 4, busy: 1 });
  });
});

describe('an answer', () => {
  test('is known again for its time, with the same password and client id only', async () => {
    const access = await make();
    serve = say({ result: 'allow' });
    await admitted(access);
    nowMs = 999;
    expect(await admitted(access)).toBe('in');
    expect(asked).toHaveLength(1);
    expect(access.logins?.remembered).toBe(1);
    serve = say({ result: 'deny' });
    expect(await admitted(access, 'eve', 'y')).toBe('bad-credentials');
    expect(asked).toHaveLength(2);
    nowMs = 1000;
    expect(await admitted(access)).toBe('bad-credentials');
    expect(asked).toHaveLength(3);
    nowMs = 1099;
    expect(await admitted(access)).toBe('bad-credentials');
    expect(asked).toHaveLength(3);
    nowMs = 1100;
    await admitted(access);
    expect(asked).toHaveLength(4);
  });

  test('that is a failure is not', async () => {
    const access = await make();
    serve = say('', 500);
    await admitted(access);
    serve = say({ result: 'allow' });
    expect(await admitted(access)).toBe('in');
  });

  test('that denies pushes out none that allows; so many of each are kept', async () => {
    const access = await make();
    serve = say({ result: 'allow' });
    for (const user of ['a', 'b', 'c']) await admitted(access, user);
    serve = say({ result: 'deny' });
    for (const user of ['x', 'y', 'z']) await admitted(access, user);
    asked = [];
    for (const user of ['b', 'c']) expect(await admitted(access, user)).toBe('in');
    expect(asked).toEqual([]);
    expect(await admitted(access, 'a')).toBe('bad-credentials');
  });

  test('is forgotten by a reload; whom the users file has now loses what the service gave', async () => {
    const access = await make();
    serve = say({ result: 'allow' });
    const claim = { user: 'eve', password: Buffer.from('x'), certificate: undefined };
    const found = await access.admit({ ...claim, clientId: 'c', isGone: () => false });
    expect(await reload(access)).toBe(true);
    await admitted(access);
    expect(asked).toHaveLength(2);
    expect('rights' in found && found.rights.isRevoked).toBe(false);
    await files.user('eve', 'z');
    await reload(access);
    expect('rights' in found && found.rights.isRevoked).toBe(true);
    expect(await admitted(access)).toBe('bad-credentials');
    await files.user('eve', undefined);
  });
});

describe('a service that fails', () => {
  test('so often in a row is left alone; then one question goes through, and decides', async () => {
    const access = await make();
    serve = say('', 500);
    for (const user of ['a', 'b', 'c']) await admitted(access, user);
    expect(outcomes(access)).toEqual({ error: 3 });
    expect(await admitted(access, 'd')).toBe('busy');
    nowMs = 4999;
    expect(await admitted(access, 'd')).toBe('busy');
    expect(outcomes(access)).toEqual({ error: 3, open: 2 });
    nowMs = 5000;
    const held: ServerResponse[] = [];
    serve = (response) => held.push(response);
    const probe = admitted(access, 'e');
    await until(() => held.length === 1);
    expect(await admitted(access, 'f')).toBe('busy');
    for (const response of held) say('', 500)(response);
    expect(await probe).toBe('busy');
    nowMs = 9999;
    expect(await admitted(access, 'g')).toBe('busy');
    expect(outcomes(access)).toEqual({ error: 4, open: 4 });
    nowMs = 10_000;
    serve = say({ result: 'allow' });
    expect(await admitted(access, 'h')).toBe('in');
    expect(await admitted(access, 'i')).toBe('in');
  });

  test('keeps in whom it let in: answers from memory hold', async () => {
    const access = await make({ allowedMs: 60_000 });
    serve = say({ result: 'allow' });
    await admitted(access);
    serve = say('', 500);
    for (const user of ['a', 'b', 'c']) await admitted(access, user);
    expect(await admitted(access)).toBe('in');
  });
});

test('is known by the authority of ca_file, and by no other', async () => {
  const tls = await TlsFiles.make();
  try {
    const pair = await tls.sign('service', '/CN=service', 'DNS:localhost');
    const key = await readFile(pair.key);
    const cert = await readFile(pair.cert);
    const secure = createTlsServer({ key, cert }, (_, response) => {
      say({ result: 'allow' })(response);
    });
    await new Promise<void>((done) => {
      secure.listen(0, '127.0.0.1', done);
    });
    const { port } = secure.address() as AddressInfo;
    const url = new URL(`https://localhost:${port}/`);
    const known = await make({ url }, tls.ca);
    expect(await admitted(known)).toBe('in');
    expect(await admitted(await make({ url }))).toBe('busy');
    secure.closeAllConnections();
    secure.close();
  } finally {
    await tls.remove();
  }
});

test.each([
  ['ca_file', { ca: 'bearer', bearer: undefined }, 'has no certificate in PEM'],
  ['bearer_file', { ca: undefined, bearer: 'users' }, 'is not one word'],
  ['bearer_file', { ca: undefined, bearer: 'not-there' }, 'cannot be read'],
])('%s that does not do ends the start', async (name, { ca, bearer }, problem) => {
  const path = (file: string | undefined) => file && join(files.folder, file);
  const callout = { ca: path(ca), bearer: path(bearer) };
  const paths = { users: files.users, rules: files.rules, callout };
  const error = await files.read({ files: paths }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ key: `access.callout.${name}` });
  expect(String(error)).toContain(problem);
});

test('every outcome is counted from the start', async () => {
  const { logins } = await make();
  expect(Object.keys(logins?.callout.counters ?? {})).toEqual([...CALLOUT_OUTCOMES]);
});

function cut(response: ServerResponse): void {
  response.writeHead(200, { 'content-length': 100 });
  response.write('{"result":"allow"}', () => response.destroy());
}
