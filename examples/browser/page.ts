/**
 * The page of `npm run browser`: one MQTT 5.0 client over WebSocket that subscribes, publishes and
 * shows what happened. MQTT.js connects again by itself, and subscribes again to what it was.
 *
 * What others published is shown as text and never as markup; of it the page keeps the newest
 * `EVENTS_MAX` lines of at most `TEXT_MAX` characters.
 */

import type { IClientOptions, MqttClient } from 'mqtt';

/** The global of `mqtt.min.js`, which index.html loads before this. */
declare const mqtt: { connect(url: string, options: IClientOptions): MqttClient };

const EVENTS_MAX = 100;
const TEXT_MAX = 1_000;
const RECONNECT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;

function element<T extends Element>(selector: string, kind: new () => T): T {
  const found = document.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`the page has no ${selector}`);
  return found;
}

const status = element('#status', HTMLElement);
const problem = element('#problem', HTMLElement);
const events = element('#events', HTMLOListElement);
const subscribeForm = element('#subscribe', HTMLFormElement);
const publishForm = element('#publish', HTMLFormElement);

function tell(text: string): void {
  const line = document.createElement('li');
  line.textContent = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
  events.prepend(line);
  while (events.childElementCount > EVENTS_MAX) events.lastElementChild?.remove();
}

function show(state: 'connected' | 'connecting' | 'not connected'): void {
  status.textContent = state;
  for (const button of document.querySelectorAll('button')) {
    button.disabled = state !== 'connected';
  }
}

function field(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === 'string' ? value : '';
}

function qosOf(form: FormData): 0 | 1 | 2 {
  const qos = Number(field(form, 'qos'));
  return qos === 2 || qos === 1 ? qos : 0;
}

function connect(url: string): MqttClient {
  const client = mqtt.connect(url, {
    protocolVersion: 5,
    clientId: `page-${crypto.randomUUID()}`,
    clean: true,
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
  });
  client.on('connect', () => {
    problem.textContent = '';
    show('connected');
  });
  client.on('reconnect', () => show('connecting'));
  client.on('close', () => {
    show('not connected');
    // A browser tells a page nothing more about a connection that was refused.
    problem.textContent = 'No broker there, or it does not name this page in its origins.';
  });
  client.on('disconnect', ({ reasonCode = 0, properties }) => {
    const reason = properties?.reasonString ?? '';
    tell(`the broker ended the connection: 0x${reasonCode.toString(16)} ${reason}`);
  });
  client.on('error', ({ message }) => tell(`error: ${message}`));
  client.on('message', (topic, payload, { qos, retain }) => {
    const text = new TextDecoder().decode(payload.subarray(0, 4 * TEXT_MAX));
    tell(`${topic} (QoS ${qos}${retain ? ', retained' : ''}): ${text}`);
  });
  return client;
}

async function subscribe(client: MqttClient, form: FormData): Promise<void> {
  const filter = field(form, 'filter');
  const granted = await client.subscribeAsync(filter, { qos: qosOf(form) });
  for (const { topic, qos } of granted) tell(`subscribed to ${topic}, QoS ${qos}`);
}

async function publish(client: MqttClient, form: FormData): Promise<void> {
  const qos = qosOf(form);
  const retain = form.has('retain');
  const topic = field(form, 'topic');
  await client.publishAsync(topic, field(form, 'text'), { qos, retain });
  tell(`published to ${topic}${qos === 0 ? '' : ', acknowledged'}`);
}

/** `action` gets what was filled in; what goes wrong is shown. */
function onSubmit(form: HTMLFormElement, action: (filled: FormData) => Promise<void>): void {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    action(new FormData(form)).catch((error: unknown) => {
      tell(`refused: ${error instanceof Error ? error.message : String(error)}`);
    });
  });
}

async function main(): Promise<void> {
  const answer = await fetch('/broker.json');
  const { url } = (await answer.json()) as { readonly url: string };
  element('#broker', HTMLElement).textContent = url;
  show('connecting');
  const client = connect(url);
  onSubmit(subscribeForm, (filled) => subscribe(client, filled));
  onSubmit(publishForm, (filled) => publish(client, filled));
}

main().catch((error: unknown) => {
  problem.textContent = error instanceof Error ? error.message : String(error);
});
