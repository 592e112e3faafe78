/**
 * The table of keys as text for people and for editors: docs/configuration.md, the JSON Schema, and
 * examples/no-cluster.yaml with every default. Pure; `npm run docs:config` writes the files, and a
 * test holds that they are current.
 */

import { KEYS } from './keys.ts';
import type { Key, Leaf, SectionKey, SectionsKey } from './schema.ts';

const DURATION = '^(\\d+(\\.\\d+)?(ms|d|h|m|s))+$';
const SIZE = '^\\d+(\\.\\d+)? ?(TiB|GiB|MiB|KiB|TB|GB|MB|kB|KB|B)$';

type JsonSchema = Record<string, unknown>;

function leafSchema(key: Leaf): JsonSchema {
  switch (key.kind) {
    case 'text':
      return { type: 'string', default: key.fallback };
    case 'choice':
      return { enum: key.choices, default: key.fallback };
    case 'switch':
      return { type: 'boolean', default: key.fallback };
    case 'number': {
      const type = key.fraction ? 'number' : 'integer';
      const range = { minimum: key.min, maximum: key.max };
      if (key.auto === undefined) return { type, ...range, default: key.fallback };
      return { anyOf: [{ type, ...range }, { const: 'auto' }], default: key.fallback };
    }
    case 'duration':
      return { type: 'string', pattern: DURATION, default: key.fallback };
    case 'size': {
      const pattern = key.auto === undefined ? SIZE : `^auto$|${SIZE}`;
      return { type: 'string', pattern, default: key.fallback };
    }
    case 'address':
      return { type: 'string', default: key.fallback };
    case 'texts':
      return { type: 'array', items: { type: 'string' }, minItems: key.least, maxItems: key.most };
    default:
      return key satisfies never;
  }
}

function schemaOf(key: Key): JsonSchema {
  const description = plain(key.about);
  if (key.kind === 'section') {
    const properties = Object.entries(key.keys).map(([name, child]) => [name, schemaOf(child)]);
    return {
      description,
      type: 'object',
      additionalProperties: false,
      properties: Object.fromEntries(properties) as JsonSchema,
    };
  }
  if (key.kind === 'sections') {
    const items = { ...schemaOf(key.each), required: requiredOf(key.each) };
    return { description, type: 'array', maxItems: key.most, items, default: key.fallback };
  }
  return { description: `${description} ${plain(rangeOf(key))}`.trim(), ...leafSchema(key) };
}

/** Keys without a default. */
function requiredOf({ keys }: SectionKey): string[] {
  return Object.entries(keys)
    .filter(([, key]) => 'fallback' in key && fallbackOf(key as Leaf) === '(required)')
    .map(([name]) => name);
}

/** JSON Schema (draft 2020-12) for editors; the broker itself checks more. */
export function jsonSchema(): string {
  const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'FluxMQ' };
  return `${JSON.stringify({ ...schema, ...schemaOf(KEYS) }, null, 2)}\n`;
}

function plain(text: string): string {
  return text.replaceAll('`', '');
}

function typeOf(key: Leaf): string {
  switch (key.kind) {
    case 'text':
      return 'text';
    case 'choice':
      return 'one of';
    case 'switch':
      return '`true` or `false`';
    case 'number':
      return key.fraction ? 'number' : 'whole number';
    case 'duration':
      return 'duration';
    case 'size':
      return 'size';
    case 'address':
      return 'address';
    case 'texts':
      return 'list of texts';
    default:
      return key satisfies never;
  }
}

/** What a value may be, beyond its type. */
function rangeOf(key: Leaf): string {
  switch (key.kind) {
    case 'text':
    case 'texts':
      return key.rule;
    case 'choice':
      return key.choices.map((name) => `\`${name}\``).join(', ');
    case 'switch':
      return '';
    case 'number': {
      const range = `${key.min} to ${key.max}`;
      return key.auto === undefined ? range : `${range}, or \`auto\`: ${key.auto}`;
    }
    case 'duration':
      return `${key.min} to ${key.max}${key.step === undefined ? '' : ', whole seconds'}`;
    case 'size': {
      const range = `${key.min} to ${key.max}`;
      return key.auto === undefined ? range : `${range}, or \`auto\`: ${key.auto}`;
    }
    case 'address':
      return key.mayBeOff ? '`host:port` or `off`' : '`host:port`';
    default:
      return key satisfies never;
  }
}

function fallbackOf(key: Leaf): string {
  if (key.kind === 'texts') return key.otherwise;
  if (key.kind === 'text' && key.otherwise !== undefined) return key.otherwise;
  return key.fallback === '' ? '(required)' : `\`${String(key.fallback)}\``;
}

interface Row {
  readonly path: string;
  readonly key: Leaf;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ path, key }) => {
    const kind = [typeOf(key), rangeOf(key)].filter((part) => part !== '').join(': ');
    return `| \`${path}\` | ${cell(kind)} | ${fallbackOf(key)} | ${cell(key.about)} |`;
  });
  return ['| key | value | default | meaning |', '|---|---|---|---|', ...lines].join('\n');
}

/** The leaves right below a section, and below its sections one after the other. */
function parts(section: SectionKey | SectionsKey, path: string): string[] {
  const keys = section.kind === 'section' ? section.keys : section.each.keys;
  const prefix = section.kind === 'section' ? path : `${path}[]`;
  const rows: Row[] = [];
  const below: string[] = [];
  for (const [name, key] of Object.entries(keys)) {
    const full = prefix === '' ? name : `${prefix}.${name}`;
    if (key.kind === 'section' || key.kind === 'sections') below.push(...parts(key, full));
    else rows.push({ path: full, key });
  }
  if (rows.length === 0) return below;
  const heading = path === '' ? 'The broker' : `\`${prefix}\``;
  const about = path === '' ? '' : `${section.about}\n\n`;
  return [`## ${heading}\n\n${about}${table(rows)}\n`, ...below];
}

const INTRODUCTION = `# Configuration

<!-- Written by \`npm run docs:config\` from src/config/keys.ts: change it there. -->

\`fluxmq start --config FILE\` reads one YAML file. Every key may be left out; without a file all
defaults hold, as they stand in \`examples/no-cluster.yaml\`. \`--set KEY=VALUE\`, any number of
times, goes on top of the file, and \`--data-dir DIR\` is \`--set data_dir=DIR\`. The value of
\`--set\` is read as YAML, so a list works too:

    fluxmq start --set log.level=debug --set 'queues=[{name: orders}, {name: bills}]'

An unknown key, a value outside its range or a key that is named twice is an error at the start,
with the file, the line, the key and the nearest right key. Nothing is guessed and nothing ignored.
Keys of later versions are refused as such.

- A **duration** has units: \`250ms\`, \`30s\`, \`5m\`, \`1h30m\`, \`7d\`.
- A **size** has a unit: \`512B\`, \`64KiB\`, \`1GiB\` (powers of 1024), \`10MB\` (of 1000).
- An **address** is \`host:port\`, \`[::1]:1883\` for IPv6, \`:1883\` for every interface.

Editors that know JSON Schema find it in \`docs/config.schema.json\`. A file as most people need it:

\`\`\`yaml
# yaml-language-server: $schema=../docs/config.schema.json
data_dir: /var/lib/fluxmq
server:
  mqtt:
    tcp:
      addr: 127.0.0.1:1883
queues:
  - name: orders
    visibility_timeout: 2m
    retry: { min: 500ms, max: 30s }
    max_length: { messages: 1000000, overflow: drop-head }
  - name: bills
    topics: ['$queue/bills/#', '$queue/invoices/#']
    dlq: unpaid
  - name: readings
    type: stream
    topics: ['sensors/#']
    retention: { age: 7d, bytes: 10GiB }
    groups:
      - name: archive
        start: first
\`\`\`

## How the parts of a queue's name work

A publish to \`$queue/orders\` or \`$queue/orders/eu/new\` is stored in every queue with a matching
pattern, once each. Without \`topics\` the pattern is \`$queue/<name>/#\`. What matches no queue
goes to the queue \`mqtt\`, which always exists (\`auto_create\` makes queues instead). Patterns of
ordinary topics capture them: the publish goes to its subscribers and into the queue. Messages of
a consumer are given back when its connection ends, or after \`visibility_timeout\`; every attempt
is counted.

## What a changed file does

Queues of the file are declared at the start. One that exists gets the limits and topics of the
file, and the log says which changed. One that exists with another type refuses the start, and the
message tells both. A key that has no effect on the type of its queue is refused.

In a cluster each node does so with its own file when it starts, whichever shard a queue is in.
Give all nodes the same list: where files differ, the node that starts last decides. A queue with
another type refuses no start there: it stays as it is, with a line at level error.
`;

export function configurationPage(): string {
  return `${INTRODUCTION}\n${parts(KEYS, '').join('\n')}`;
}

const COLUMNS = 96;

function comment(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + word.length + 3 > COLUMNS) {
      lines.push(`${indent}# ${line}`);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, `${indent}# ${line}`];
}

function yamlLines(keys: Readonly<Record<string, Key>>, indent: string): string[] {
  return Object.entries(keys).flatMap(([name, key]) => {
    const about = comment(plain(key.about), indent);
    if (key.kind === 'section') {
      return [...about, `${indent}${name}:`, ...yamlLines(key.keys, `${indent}  `)];
    }
    if (key.kind === 'sections') {
      if (key.fallback.length === 0) return [...about, `${indent}${name}: []`];
      return [...about, `${indent}${name}:`, ...yamlList(key, indent)];
    }
    const range = comment(plain(`${typeOf(key)}: ${rangeOf(key)}`.replace(/: $/, '')), indent);
    const value = key.kind === 'texts' ? key.example : String(key.fallback) || "''";
    return [...about, ...range, `${indent}${name}: ${value}`];
  });
}

function yamlList(list: SectionsKey, indent: string): string[] {
  return list.fallback.flatMap((entry) => {
    const keys = Object.entries(list.each.keys).map(([name, key]): [string, Key] => {
      const value = entry[name];
      return [name, value !== undefined && key.kind === 'text' ? { ...key, fallback: value } : key];
    });
    const lines = yamlLines(Object.fromEntries(keys), `${indent}    `);
    return [`${indent}  -`, ...lines];
  });
}

/** Every key with its default: loading it is the same as loading nothing. */
export function defaultsExample(): string {
  const head = [
    '# One broker on this machine, with every key at its default: what `npm start` runs.',
    '# Written by `npm run docs:config` from src/config/keys.ts; copy it to change it.',
    '# yaml-language-server: $schema=../docs/config.schema.json',
    '',
  ];
  return `${[...head, ...yamlLines(KEYS.keys, '')].join('\n')}\n`;
}
