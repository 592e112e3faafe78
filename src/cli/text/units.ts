/** Numbers as people read them. For programs there is `--json`. Pure. */

/** With a comma between thousands, whatever the locale of the machine. */
export function count(value: number): string {
  const [whole = '', fraction] = String(value).split('.');
  const grouped = whole.replaceAll(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Three digits at least, in powers of 1024. */
export function bytes(value: number): string {
  let amount = value;
  let unit = 0;
  while (amount >= 1024 && unit < BYTE_UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 100 ? 0 : amount >= 10 ? 1 : 2;
  return `${amount.toFixed(digits)} ${BYTE_UNITS[unit] ?? ''}`;
}

/** A rate: whole from ten on. */
export function rate(perSecond: number): string {
  return perSecond >= 10 || perSecond === 0 ? count(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** In UTC, so that it can be compared with the log of the broker. */
export function time(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ');
}

/** `1 message`, `2 messages`. */
export function several(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
