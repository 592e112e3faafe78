/**
 * Durations, sizes and addresses as people write them, to numbers and back. Pure. A value that
 * cannot be read is answered with a sentence for the person who wrote it.
 */

import type { Address } from './schema.ts';

export type Read<T> = { readonly value: T } | { readonly problem: string };

const DURATION_UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
] as const;

const SIZE_UNITS = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
  ['KB', 1e3],
  ['B', 1],
] as const;

/** '250ms', '30s', '1.5h', '1h30m'; whole milliseconds. */
export function readDuration(written: string): Read<number> {
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)(ms|d|h|m|s)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== written) {
    const bare = /^\d+(\.\d+)?$/.test(written);
    const hint = bare
      ? `write ${written}s or ${written}ms`
      : "write it as '250ms', '30s' or '1h30m'";
    return { problem: `${quote(written)} is not a duration: ${hint}` };
  }
  let value = 0;
  for (const [, amount, unit] of parts) {
    value += Number(amount) * (DURATION_UNITS.find(([name]) => name === unit)?.[1] ?? Number.NaN);
  }
  return Number.isSafeInteger(value)
    ? { value }
    : { problem: `${quote(written)} is not a whole number of milliseconds` };
}

/** '512B', '64MiB', '1.5GiB', '10MB'; whole bytes. */
export function readSize(written: string): Read<number> {
  const [, amount, unit] = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(written) ?? [];
  const bytes = SIZE_UNITS.find(([name]) => name === unit)?.[1];
  if (amount === undefined || bytes === undefined) {
    const bare = /^\d+$/.test(written);
    const hint = bare
      ? `write ${written}B or ${written}KiB`
      : "write it as '512B', '64MiB' or '1GiB'";
    return { problem: `${quote(written)} is not a size: ${hint}` };
  }
  const value = Number(amount) * bytes;
  return Number.isSafeInteger(value)
    ? { value }
    : { problem: `${quote(written)} is not a whole number of bytes` };
}

export function writeDuration(ms: number): string {
  const [unit, length] = DURATION_UNITS.find(([, each]) => ms >= each && ms % each === 0) ?? [
    's',
    1,
  ];
  return `${ms / length}${unit}`;
}

export function writeSize(bytes: number): string {
  const binary = SIZE_UNITS.filter(([unit]) => unit === 'B' || unit.endsWith('iB'));
  const [unit, length] = binary.find(([, each]) => bytes >= each && bytes % each === 0) ?? ['B', 1];
  return `${bytes / length}${unit}`;
}

/** 'host:port', '[::1]:1883', or ':1883' for every interface. */
export function readAddress(written: string): Read<Address> {
  const [, inBrackets, bare, digits] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([^[\]:\s/]*)):(\d{1,5})$/.exec(written) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535) {
    return {
      problem: `${quote(written)} is not an address: write host:port, such as 127.0.0.1:1883`,
    };
  }
  const host = inBrackets ?? bare ?? '';
  return { value: { host: host === '' || host === '*' ? '::' : host.toLowerCase(), port } };
}

export function writeAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** A name that is not a number may stand for anything: only `localhost` is taken at its word. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  const [, ...parts] = /^(?:::ffff:)?127\.(\d+)\.(\d+)\.(\d+)$/.exec(host) ?? [];
  return parts.length === 3 && parts.every((part) => Number(part) <= 255);
}

/** For messages: in quotes, control characters visible, never longer than a line. */
export function quote(written: string): string {
  const shown = JSON.stringify(written.length > 60 ? `${written.slice(0, 57)}...` : written);
  return `'${shown.slice(1, -1).replaceAll('\\"', '"')}'`;
}
