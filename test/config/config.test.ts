/** A configuration is right as a whole, or refused with every problem, its place and what to do. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, parseConfig } from '../../src/config/config.ts';

function refusal(yaml: string, overrides: readonly string[] = []): string {
  try {
    parseConfig({ file: { name: 'broker.yaml', yaml }, overrides });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'accepted';
}

const set = (assignment: string): unknown => parseConfig({ overrides: [assignment] });

describe('what is written', () => {
  it('an empty file, a comment and empty groups mean the defaults', () => {
    const defaults = parseConfig({});
    for (const yaml of ['', '# nothing\n', 'log:\nserver:\n  mqtt:\n']) {
      expect(parseConfig({ file: { name: 'f', yaml } })).toEqual(defaults);
    }
    expect(defaults.server.mqtt.tcp.addr).toEqual({ host: '127.0.0.1', port: 1883 });
    expect(defaults.queues.map(({ name }) => name)).toEqual(['orders']);
  });

  it('--set goes on top of the file, the last one wins, and its value is YAML', () => {
    const config = parseConfig({
      file: { name: 'f', yaml: 'log: { level: debug, format: json }\nnode: { id: a }\n' },
      overrides: ['log.level=error', 'log.level=warn', 'queues=[{name: a}, {name: b}]'],
    });
    expect(config.log).toEqual({ level: 'warn', format: 'json' });
    expect(config.node.id).toBe('a');
    expect(config.queues.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('--set takes an address of IPv6 without quotes', () => {
    const { server } = parseConfig({ overrides: ['server.mqtt.tcp.addr=[::1]:1883'] });
    expect(server.mqtt.tcp.addr).toEqual({ host: '::1', port: 1883 });
  });

  it('an anchor may be used again', () => {
    const yaml = 'queues:\n  - { name: a, retry: &r { min: 2s } }\n  - { name: b, retry: *r }\n';
    const { queues } = parseConfig({ file: { name: 'f', yaml } });
    expect(queues.map(({ retry }) => retry.min)).toEqual([2000, 2000]);
  });
});

describe('O1: what is wrong is an error at the start', () => {
  it.each([
    ['log:\n  levle: info\n', 'broker.yaml:2:3: log.levle: unknown key: did you mean level?'],
    ['sever: {}\n', 'broker.yaml:1:1: sever: unknown key: did you mean server?'],
    ['__proto__: { x: 1 }\n', 'broker.yaml:1:1: __proto__: unknown key: there are node'],
    ['log: { level: inf }\n', "broker.yaml:1:15: log.level: 'inf' is not one of debug"],
    ['allow_anonymous: yes\n', "allow_anonymous: 'yes' is neither true nor false"],
    ['allow_anonymous: "true"\n', 'is neither true nor false'],
    ['shards: { ack_timeout: 10 }\n', "'10' is not a duration: write 10s or 10ms"],
    ['shards: { ack_timeout: 1h }\n', "'1h' is not within 100ms to 10m"],
    ['storage: { segment_size: 64 }\n', "'64' is not a size: write 64B or 64KiB"],
    ['storage: { segment_size: 64MB2 }\n', "'64MB2' is not a size"],
    ['server: { mqtt: { max_qos: 3 } }\n', "'3' is not within 0 to 2"],
    ['server: { mqtt: { max_qos: 1.5 } }\n', "'1.5' is not a whole number"],
    ['server: { mqtt: { max_qos: } }\n', 'has no value'],
    ['server: { mqtt: { keep_alive_maximum: 1500ms } }\n', 'is not a whole number of seconds'],
    ['server: 5\n', "broker.yaml:1:9: server: a group of keys belongs here, not '5'"],
    ['queues: {}\n', 'queues: a list belongs here, not a group of keys'],
    ['queues: [{}]\n', 'broker.yaml:1:10: queues[0].name: is empty'],
    ['data_dir: [a]\n', 'data_dir: one value belongs here, not a list'],
    ['data_dir: ""\n', 'data_dir: is not the path of a folder'],
    ['- a\n', 'a configuration is a list of keys'],
    ['log: {level: info}\nlog: {level: warn}\n', 'broker.yaml:2:1: Map keys must be unique'],
    ['a: [1\n', 'broker.yaml:2:1: '],
    ['log: !!js/function x\n', 'Unresolved tag'],
    ['log: {}\n---\nlog: {}\n', 'Source contains multiple documents'],
  ])('%j', (yaml, text) => {
    expect(refusal(yaml)).toContain(text);
  });

  it('every problem is told at once, in the order of the file', () => {
    const lines = refusal('node: { id: "" }\nlog: { level: x }\nshards: { y: 1 }\n').split('\n');
    expect(lines.map((line) => line.slice(0, 14))).toEqual([
      'broker.yaml:1:',
      'broker.yaml:2:',
      'broker.yaml:3:',
    ]);
  });

  it('--set is checked like a file', () => {
    expect(() => set('log.levl=info')).toThrow(/--set 'log.levl=info': log.levl: unknown key/);
    expect(() => set('log.level=loud')).toThrow(/is not one of/);
    for (const wrong of ['log.level', '=x', 'log..level=x', '']) {
      expect(() => set(wrong)).toThrow(/write --set KEY=VALUE/);
    }
  });

  it('a missing file, a folder, and a file that is no text are refused by name', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fluxmq-config-'));
    try {
      expect(() => loadConfig(join(directory, 'none.yaml'), [])).toThrow(/none.yaml.*ENOENT/);
      expect(() => loadConfig(directory, [])).toThrow(/cannot be read/);
      const binary = join(directory, 'binary.yaml');
      await writeFile(binary, new Uint8Array([0xff, 0xfe, 0x00]));
      expect(() => loadConfig(binary, [])).toThrow(/is not UTF-8/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('a listener that is named twice is refused', () => {
    const yaml = 'server:\n  mqtt:\n    tcp: { addr: "127.0.0.1:1883" }\n    tcp: { addr: off }\n';
    expect(refusal(yaml)).toContain('broker.yaml:4:5: Map keys must be unique');
  });

  it('without any listener nobody could connect', () => {
    expect(refusal('server: { mqtt: { tcp: { addr: off } } }\n')).toContain(
      'every listener is off',
    );
  });

  it.each(['0.0.0.0:1883', ':1883', '[::]:1883', '192.0.2.1:1883', 'example.org:1883'])(
    '%s is refused, unless allow_anonymous is true',
    (address) => {
      const yaml = `server: { mqtt: { tcp: { addr: "${address}" } } }\n`;
      expect(refusal(yaml)).toContain('say allow_anonymous: true');
      expect(refusal(`${yaml}allow_anonymous: true\n`)).toBe('accepted');
    },
  );

  it.each(['127.0.0.1:0', '127.8.9.1:1883', 'localhost:1883', '[::1]:1883'])(
    '%s is loopback',
    (address) => {
      const yaml = `server: { mqtt: { tcp: { addr: "${address}" } } }\n`;
      expect(refusal(yaml)).toBe('accepted');
    },
  );

  it.each([
    'server.amqp.addr=127.0.0.1:5672',
    'server.amqp091.addr=127.0.0.1:5672',
    'server.amqp10.addr=127.0.0.1:5672',
    'server.http.addr=127.0.0.1:8080',
    'server.coap.addr=127.0.0.1:5683',
    'server.http.addr=off',
    'cluster.etcd.mode=embedded',
  ])('%s is of a later version, and says so', (assignment) => {
    expect(() => set(assignment)).toThrow(/not available in this version/);
  });

  it('rules between keys are held', () => {
    expect(refusal('queues: [{ name: a }, { name: a }]\n')).toContain('is declared twice');
    const retry = 'queues: [{ name: a, retry: { min: 5s, max: 1s } }]\n';
    expect(refusal(retry)).toContain('1s is shorter than retry.min (5s)');
    expect(refusal('storage: { reserve: 64MiB }\n')).toContain('less than two segments');
    expect(refusal('storage: { segment_size: 1MiB, prewrite_size: 2MiB }\n')).toContain(
      'more than storage.segment',
    );
    expect(refusal('storage: { window: 64MiB }\n')).toContain('window: is less than two segments');
    expect(refusal('shards: { high_water: 1GiB }\n')).toContain('is less than shards.high_water');
    expect(refusal('queues: [{ name: mqtt, topics: ["$queue/x"] }]\n')).toContain('no topics');
  });

  it('a second listener on the same address is refused, on any address of its own it is not', () => {
    const ops = (addr: string): string => refusal(`server: { ops: { addr: "${addr}" } }\n`);
    expect(ops('127.0.0.1:1883')).toContain('is the address of server.mqtt.tcp.addr too');
    expect(ops('0.0.0.0:9464')).toContain('say allow_anonymous: true');
    expect([ops('off'), ops('127.0.0.1:9999')]).toEqual(['accepted', 'accepted']);
    const both = 'server: { ops: { addr: "[::1]:0" }, mqtt: { tcp: { addr: "[::1]:0" } } }\n';
    expect(refusal(both)).toBe('accepted');
  });
});

describe('access', () => {
  const open = 'server: { mqtt: { tcp: { addr: "0.0.0.0:1883" } } }\n';
  const both = 'access: { users_file: u, rules_file: r }\n';

  it('listeners of MQTT may be open to other machines where clients say who they are', () => {
    expect(refusal(open + both)).toBe('accepted');
    const ops = 'server: { ops: { addr: "0.0.0.0:9464" } }\n';
    expect(refusal(ops + both)).toContain('server.ops.addr: 0.0.0.0:9464 can be reached');
  });

  it('users without rules may do nothing, and rules without anybody to come in are a mistake', () => {
    expect(refusal('access: { users_file: u }\n')).toContain('name rules_file too');
    const rules = 'access: { rules_file: r }\n';
    expect(refusal(rules)).toContain('nobody could come in');
    expect(refusal(`${rules}allow_anonymous: true\n`)).toBe('accepted');
    const door = 'tls: { addr: "0.0.0.0:8883", client_certificates: optional }';
    const tls = `server: { tls: { cert: c, key: k, client_ca: a }, mqtt: { ${door} } }\n`;
    expect(refusal(rules + tls)).toBe('accepted');
    const off = 'access: { rules_file: r, certificate_users: false }\n';
    expect(refusal(off + tls)).toContain('nobody could come in');
  });

  it('a service is asked over TLS, or on this machine, and needs rules', () => {
    const at = (url: string): string =>
      refusal(`access: { rules_file: r, callout: { login_url: "${url}" } }\n`);
    expect(at('https://id.example.com/x')).toBe('accepted');
    for (const host of ['localhost', '127.0.0.1:8080', '[::1]:8080']) {
      expect(at(`http://${host}/x`)).toBe('accepted');
    }
    for (const host of ['id.example.com', '127.0.0.1.example.com', '10.0.0.1']) {
      expect(at(`http://${host}/x`)).toContain('in the clear');
    }
    for (const url of ['file:///x', 'id.example.com', '/x']) {
      expect(at(url)).toContain('is no https:// URL');
    }
    expect(at('https://u:p@id.example.com/')).toContain('has a user in it');
    const alone = 'access: { callout: { login_url: "https://id.example.com" } }\n';
    expect(refusal(alone)).toContain('users of a service without rules may do nothing');
    const asks = 'callout: { authorize_url: "https://id.example.com" }';
    expect(refusal(`access: { ${asks} }\n`)).toContain('about what no rule decides');
    const users = `access: { rules_file: r, users_file: u, ${asks} }\n`;
    expect(refusal(users)).toBe('accepted');
    // It does not say who comes in.
    expect(refusal(`access: { rules_file: r, ${asks} }\n`)).toContain('nobody could come in');
  });

  it('SCRAM needs a users file, and as many iterations as RFC 7677 asks for', () => {
    const scram = (keys: string, users = 'users_file: u, '): string =>
      refusal(`access: { ${users}rules_file: r, scram: { ${keys} } }\n`);
    expect(scram('enabled: true, iterations: 4096')).toBe('accepted');
    expect(scram('iterations: 4095')).toContain('is not within 4096 to 10000000');
    expect(scram('enabled: true', '')).toContain('name users_file too');
  });

  it('tokens have one file of keys, and algorithms that are named and fit it', () => {
    const jwt = (keys: string): string => refusal(`access: { rules_file: r, jwt: { ${keys} } }\n`);
    expect(jwt('secret_file: s, algorithms: [HS256, HS512]')).toBe('accepted');
    expect(jwt('jwks_file: s, algorithms: [RS256, EdDSA]')).toBe('accepted');
    expect(jwt('secret_file: s')).toContain('are not taken from it: name them');
    expect(jwt('secret_file: s, algorithms: [none]')).toContain('is none of HS256');
    expect(jwt('secret_file: s, algorithms: [HS256, RS256]')).toContain(
      'RS256 is not for a secret',
    );
    expect(jwt('public_key_file: s, algorithms: [HS256]')).toContain(
      'HS256 is not for public keys',
    );
    const two = 'jwks_file: s, public_key_file: p, algorithms: [RS256]';
    expect(jwt(two)).toContain('more than one key file');
    expect(jwt('algorithms: [RS256]')).toContain('there are no tokens: name a key file too');
    const alone = 'access: { jwt: { secret_file: s, algorithms: [HS256] } }\n';
    expect(refusal(alone)).toContain('tokens without rules may do nothing');
  });
});

describe('server.mqtt.ws', () => {
  const ws = (keys: string): string =>
    refusal(`server: { mqtt: { ws: { addr: "127.0.0.1:9001", ${keys} } } }\n`);

  it('is a listener like the others: alone it is enough, on loopback, at an address of its own', () => {
    const alone = 'server: { mqtt: { tcp: { addr: off }, ws: { addr: "127.0.0.1:9001" } } }\n';
    expect(refusal(alone)).toBe('accepted');
    const open = 'server: { mqtt: { ws: { addr: "0.0.0.0:9001" } } }\n';
    expect(refusal(open)).toContain('server.mqtt.ws.addr: 0.0.0.0:9001 can be reached');
    expect(refusal(`${open}allow_anonymous: true\n`)).toBe('accepted');
    const twice = 'server: { mqtt: { ws: { addr: "127.0.0.1:1883" } } }\n';
    expect(refusal(twice)).toContain('is the address of server.mqtt.tcp.addr too');
  });

  it.each(['/', '/mqtt', '/a/b-c_d.e', '/%7e'])('%s is a path', (path) => {
    expect(ws(`path: "${path}"`)).toBe('accepted');
  });

  it.each(['', 'mqtt', '/a b', '/a?b', '/a#b', '/\\n', '/ü', 'http://a/b'])(
    'the path %j is refused',
    (path) => expect(ws(`path: "${path}"`)).toContain('is not the path of a URL'),
  );

  it.each(['*', 'https://app.example.com', 'http://localhost:8000', 'http://[::1]:8000'])(
    '%s is an origin',
    (origin) => expect(ws(`origins: ["${origin}"]`)).toBe('accepted'),
  );

  it.each([
    ['https://app.example.com/', 'write https://app.example.com'],
    ['HTTPS://App.example.com', 'write https://app.example.com'],
    ['https://app.example.com:443', 'write https://app.example.com'],
    ['app.example.com', 'write it as https://app.example.com'],
    ['null', 'write it as https://app.example.com'],
    ['https://*.example.com', 'origins[0]: '],
  ])('the origin %s is refused with the right one', (origin, told) => {
    expect(ws(`origins: ["${origin}"]`)).toContain(told);
  });

  it('a message has room for the largest packet', () => {
    expect(ws('max_message_size: 1MiB')).toContain('less than server.mqtt.max_packet_size (2MiB)');
  });
});

describe('TLS', () => {
  const FILES = 'tls: { cert: c, key: k, client_ca: a }';
  const server = (mqtt: string, files = FILES): string =>
    refusal(`server: { mqtt: { ${mqtt} }, ${files} }\n`);

  it('needs a certificate and a key, and client certificates an authority', () => {
    expect(server('tls: { addr: "127.0.0.1:8883" }')).toBe('accepted');
    for (const files of ['tls: {}', 'tls: { cert: c }', 'tls: { key: k }']) {
      const told = 'server.mqtt.tls.addr: TLS needs a certificate';
      expect(server('tls: { addr: "127.0.0.1:8883" }', files)).toContain(told);
      expect(server('wss: { addr: "127.0.0.1:8883" }', files)).toContain(
        'server.mqtt.wss.addr: TLS',
      );
    }
    const required = 'wss: { addr: "127.0.0.1:8883", client_certificates: required }';
    expect(server(required)).toBe('accepted');
    expect(server(required, 'tls: { cert: c, key: k }')).toContain('name server.tls.client_ca');
  });

  it.each(['tls', 'wss'])(
    '%s is open to other machines only to those who show a certificate, or with allow_anonymous',
    (door) => {
      for (const shown of ['off', 'optional']) {
        const keys = `${door}: { addr: "0.0.0.0:8883", client_certificates: ${shown} }`;
        expect(server(keys)).toContain('say allow_anonymous: true');
      }
      const required = `${door}: { addr: "0.0.0.0:8883", client_certificates: required }`;
      expect(server(required)).toBe('accepted');
      // It opens no other door.
      expect(server(`${required}, ws: { addr: "0.0.0.0:8080" }`)).toContain('server.mqtt.ws.addr');
    },
  );

  it('keys that others have are told by their name here, and odd values are refused', () => {
    expect(() => set('server.mqtt.tcp.tls={cert: a}')).toThrow(/called server\.mqtt\.tls/);
    expect(() => set('server.tls.min_version=TLSv1.1')).toThrow(/is not one of TLSv1\.2/);
    expect(() => set('server.tls.ciphers="a b"')).toThrow(/is no list of ciphers/);
    expect(() => set('server.tls.crl=[""]')).toThrow(/crl\[0\]: is empty/);
    expect(() => set('server.tls.crl=[a]')).toThrow(/name server\.tls\.client_ca too/);
  });
});

describe('Q16: hostile names of queues', () => {
  it.each([
    '""',
    '"."',
    '".."',
    '"../../x"',
    '"/"',
    '"a/b"',
    '"a\\0b"',
    '"a\\nb"',
    '"+"',
    '"a#"',
    '"$dlq"',
    '"$dlq/"',
    '"$dlq/a/b"',
    '"$dlq/../x"',
    '"$dlq/$dlq/a"',
    '"$dlq/#"',
    '"$SYS"',
    '"\\ud800"',
    `"${'x'.repeat(65_536)}"`,
  ])('%.40s is refused', (name) => {
    const text = refusal(`queues: [{ name: ${name} }]\n`);
    expect(text).toMatch(/^broker\.yaml:1:\d+: queues\[0\]\.name: /);
    // A message is for people: it repeats no control character and no book.
    expect(text.length).toBeLessThan(300);
    expect(text).not.toMatch(/[^\P{Cc}\n]/u);
  });

  it.each(['orders', 'a b', 'ünïcode', '...', 'x'.repeat(250), '$dlq/orders'])(
    '%.20s is a name',
    (name) => {
      expect(refusal(`queues: [{ name: ${JSON.stringify(name)} }]\n`)).toBe('accepted');
    },
  );

  it.each(['$queue', '$queue/', '$queue/a+/x', '#/x', '$queue/a#', '$SYS/#', '$share/g/a', ''])(
    'the pattern %s is refused',
    (pattern) => {
      const yaml = `queues: [{ name: a, topics: [${JSON.stringify(pattern)}] }]\n`;
      expect(refusal(yaml)).toContain('queues[0].topics[0]: ');
    },
  );
});

describe('bad input', () => {
  it('whatever a file holds, the answer is a configuration or a ConfigError', () => {
    const words = fc.constantFrom(
      'log',
      'server',
      'queues',
      ':',
      '-',
      '[',
      '{',
      '}',
      '&a',
      '*a',
      '!',
    );
    const soup = fc.array(fc.oneof(words, fc.constantFrom(' ', '\n', '  '), fc.string()));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          soup.map((parts) => parts.join('')),
        ),
        (yaml) => {
          refusal(yaml);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('aliases of aliases cannot fill the memory', () => {
    const levels = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 12; i += 1) {
      levels.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]`);
    }
    expect(refusal(`${levels.join('\n')}\n`)).toContain('holds too much');
  });
});
