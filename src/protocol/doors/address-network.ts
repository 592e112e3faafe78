/**
 * The network that an address is counted by: of IPv4 the address itself, of IPv6 its first bits, as
 * one who has a network of IPv6 has more addresses than anybody can count. Pure.
 *
 * An IPv4 address that is written as IPv6 (RFC 4291 2.5.5.2) is that IPv4 address, and a zone does
 * not count.
 */

const GROUPS = 8;
const GROUP_BITS = 16;
const MAPPED = '::ffff:';

/** `address` as the system writes it; `ipv6Bits` from 1 to 128. */
export function networkOf(address: string, ipv6Bits: number): string {
  if (!address.includes(':')) return address;
  if (address.startsWith(MAPPED) && address.includes('.')) return address.slice(MAPPED.length);
  const groups = groupsOf(address.split('%', 1)[0] ?? '').map((group, at) => {
    const bits = Math.min(GROUP_BITS, Math.max(0, ipv6Bits - at * GROUP_BITS));
    return group & (0xffff << (GROUP_BITS - bits));
  });
  return `${groups.map((group) => group.toString(16)).join(':')}/${ipv6Bits}`;
}

/** All eight; `::` stands for as many zeros as are missing. */
function groupsOf(address: string): number[] {
  const [front = '', back] = address.split('::');
  const before = numbersOf(front);
  if (back === undefined) return before;
  const after = numbersOf(back);
  const zeros = Math.max(0, GROUPS - before.length - after.length);
  return [...before, ...Array<number>(zeros).fill(0), ...after];
}

function numbersOf(written: string): number[] {
  if (written === '') return [];
  return written.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}
