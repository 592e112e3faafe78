/**
 * The page of examples/browser in a real Chromium, against a broker process with the configuration
 * of that example; only ports and data directory are others.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { type Browser, type Page, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PageServer } from '../../examples/browser/page-server.ts';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess, REPOSITORY, scratchDirectory } from '../support/broker-process.ts';

const EXAMPLE = join(REPOSITORY, 'examples/browser/broker.yaml');
const CHROMIUM = '/usr/bin/chromium';
/** Ends a test that fails. */
const PATIENCE_MS = 20_000;

let browser: Browser;
let broker: BrokerProcess;
let site: PageServer;
let brokerUrl: string;
/** What the pages complained about: a breach of the policy, a script that threw. */
const complaints: string[] = [];

beforeAll(async () => {
  const port = await freePort();
  brokerUrl = `ws://127.0.0.1:${port}/mqtt`;
  site = await PageServer.start({ root: REPOSITORY, port: 0, brokerUrl });
  const ws = 'server.mqtt.ws';
  const set = [`${ws}.addr=127.0.0.1:${port}`, `${ws}.origins=['${site.origin}']`];
  const args = ['--config', EXAMPLE, ...set.flatMap((each) => ['--set', each])];
  [broker, browser] = await Promise.all([
    BrokerProcess.started('browser', { args }),
    chromium.launch({ executablePath: CHROMIUM }),
  ]);
});

afterAll(async () => {
  await browser.close();
  await site.stop();
  await broker.remove();
});

async function opened(from: PageServer): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('console', (line) => {
    // A connection that is refused or lost is told there too, and is what some tests are about.
    if (line.type() === 'error' && !line.text().startsWith('WebSocket connection to')) {
      complaints.push(line.text());
    }
  });
  await page.goto(from.origin);
  return page;
}

async function status(page: Page, text: string): Promise<void> {
  await page
    .getByRole('status')
    .filter({ hasText: new RegExp(`^${text}$`) })
    .waitFor();
}

async function happened(page: Page, text: string): Promise<void> {
  await page.getByRole('log').getByText(text, { exact: true }).first().waitFor();
}

async function subscribe(page: Page, filter: string, qos: string): Promise<void> {
  await page.getByLabel('Topic filter').fill(filter);
  await page.getByLabel('Subscription QoS').selectOption(qos);
  await page.getByRole('button', { name: 'Subscribe' }).click();
}

async function publish(page: Page, topic: string, text: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Topic', exact: true }).fill(topic);
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.getByRole('button', { name: 'Publish' }).click();
}

describe('a page of an origin that the configuration names', () => {
  let page: Page;

  beforeAll(async () => {
    page = await opened(site);
    await status(page, 'connected');
  });

  test.each(['0', '1', '2'])('publishes and receives at QoS %s', async (qos) => {
    await subscribe(page, 'rooms/#', qos);
    await happened(page, `subscribed to rooms/#, QoS ${qos}`);
    await page.getByLabel('Message QoS').selectOption(qos);
    await publish(page, 'rooms/kitchen', 'grüße 🍵');
    await happened(page, `published to rooms/kitchen${qos === '0' ? '' : ', acknowledged'}`);
    await happened(page, `rooms/kitchen (QoS ${qos}): grüße 🍵`);
  });

  test('consumes what it published into a durable queue', async () => {
    await publish(page, '$queue/orders', 'tea');
    await happened(page, 'published to $queue/orders, acknowledged');
    await subscribe(page, '$queue/orders', '1');
    await happened(page, '$queue/orders (QoS 1): tea');
  });

  test('shows what others send as text, whatever it is', async () => {
    const markup = '<img src=x onerror="document.body.remove()"><script>stop()</script>';
    await subscribe(page, '#', '0');
    await happened(page, 'subscribed to #, QoS 0');
    const other = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`);
    await other.publishAsync(`rooms/${markup}`, markup);
    await other.endAsync();
    await happened(page, `rooms/${markup} (QoS 0): ${markup}`);
    expect(await page.locator('img, #events script').count()).toBe(0);
  });

  test('shows why a wish was refused, and stays connected', async () => {
    await subscribe(page, 'rooms/#/kitchen', '1');
    await happened(page, 'refused: Invalid topic rooms/#/kitchen');
    await status(page, 'connected');
  });

  test('sees that the broker went, and is subscribed again when it is back', async () => {
    await subscribe(page, 'again/#', '1');
    await happened(page, 'subscribed to again/#, QoS 1');
    expect(await broker.stop()).toBe(0);
    await happened(page, 'the broker ended the connection: 0x8b the server shuts down');
    await status(page, 'not connected');
    expect(await page.getByRole('button', { name: 'Publish' }).isDisabled()).toBe(true);
    await broker.start();
    await status(page, 'connected');
    await publish(page, 'again/here', 'back');
    await happened(page, 'again/here (QoS 1): back');
    await broker.kill();
    await status(page, 'not connected');
    await broker.start();
    await status(page, 'connected');
    await publish(page, 'again/here', 'twice');
    await happened(page, 'again/here (QoS 1): twice');
  });
});

test('a page of another origin is refused, though its own server would let it', async () => {
  const stranger = await PageServer.start({ root: REPOSITORY, port: 0, brokerUrl });
  try {
    const page = await opened(stranger);
    const hint = 'it does not name this page';
    await page.getByRole('alert').filter({ hasText: hint }).waitFor();
    await status(page, 'not connected');
    await expect.poll(() => broker.output).toContain(stranger.origin);
  } finally {
    await stranger.stop();
  }
});

test('the policy of the page lets it load from and connect to nowhere else', async () => {
  const answer = await fetch(site.origin);
  const policy = answer.headers.get('content-security-policy') ?? '';
  expect(policy).toMatch(/^default-src 'none'; script-src 'self';/);
  expect(policy).not.toMatch(/unsafe|\*/);
  const page = await opened(site);
  await status(page, 'connected');
  const before = complaints.length;
  const outside = `fetch('http://127.0.0.1:${broker.port}/').then(() => 'let through', String)`;
  expect(await page.evaluate(outside)).toMatch(/^TypeError/);
  expect(complaints.splice(before).join()).toContain('Content Security Policy');
});

test('the server of the page gives its own files and nothing else', async () => {
  for (const path of ['/browser.ts', '/../broker.yaml', '/%2e%2e/package.json', '//page.js']) {
    expect((await fetch(site.origin + path)).status, path).toBe(404);
  }
  expect((await fetch(site.origin, { method: 'POST' })).status).toBe(405);
});

test('`npm run browser` starts broker and page of one file, and stops both', async () => {
  const scratch = await scratchDirectory('browser-example');
  const [pagePort, webPort, tcpPort] = [await freePort(), await freePort(), await freePort()];
  const changes: readonly (readonly [string, string])[] = [
    ['data_dir: data-browser', `data_dir: ${join(scratch, 'data')}`],
    ['127.0.0.1:9001', `127.0.0.1:${webPort}`],
    ['127.0.0.1:8080', `127.0.0.1:${pagePort}`],
    ['  mqtt:\n', `  ops: { addr: off }\n  mqtt:\n    tcp: { addr: '127.0.0.1:${tcpPort}' }\n`],
  ];
  let yaml = await readFile(EXAMPLE, 'utf8');
  for (const [from, to] of changes) {
    expect(yaml).toContain(from);
    yaml = yaml.replace(from, to);
  }
  const file = join(scratch, 'broker.yaml');
  await writeFile(file, yaml);
  const program = join(REPOSITORY, 'dist/examples/browser/browser.js');
  const child = spawn(process.execPath, [program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  expect(said.toString()).toContain(`http://127.0.0.1:${pagePort}`);
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pagePort}`);
  await status(page, 'connected');
  await page.close();
  child.kill('SIGINT');
  await once(child, 'close');
  expect(child.exitCode).toBe(0);
});

test('no page complained', () => {
  expect(complaints).toEqual([]);
});
