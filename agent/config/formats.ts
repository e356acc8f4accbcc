/**
 * How settings are written and what they become.
 *
 * Guarantees: a format either gives a value or nothing; what it accepts is said in words that complete the sentence
 * "… is not accepted: write …". Nothing here reads the environment or a file.
 */
import { isIP } from 'node:net';
import { parseAddress } from '../address.ts';
import type { Address } from '../address.ts';
import type { InterfaceChoice } from '../link/interface.ts';
import { parseInterfaceChoice } from './interface-choice.ts';

export interface Format<Value> {
  readonly accepts: string;
  /** The value, or a string that says what exactly is wrong where that helps, or null. */
  readonly parse: (text: string) => { readonly value: Value } | { readonly problem: string } | null;
}

function format<Value>(accepts: string, parse: (text: string) => Value | null): Format<Value> {
  return {
    accepts,
    parse: (text) => {
      const value = parse(text);
      return value === null ? null : { value };
    },
  };
}

export const text: Format<string> = format('some text', (raw) => raw);

/** As long as the name of a Unix socket may be, with room for a suffix (unix(7)). */
const SOCKET_PATH_LENGTH_MAX = 100;

export const absolutePath: Format<string> = format(`a path from the root, of ${SOCKET_PATH_LENGTH_MAX} characters at the most`, (raw) =>
  raw.startsWith('/') && !raw.endsWith('/') && Buffer.byteLength(raw) <= SOCKET_PATH_LENGTH_MAX ? raw : null,
);

export const positiveInteger: Format<number> = format('a whole number from 1 on', (raw) => {
  const value = Number(raw);
  return /^\d+$/.test(raw) && Number.isSafeInteger(value) && value > 0 ? value : null;
});

/** What can be sent in an HTTP header: a token with anything else in it was copied wrongly. */
export const token: Format<string> = format('the token itself, in one piece without spaces or quotes', (raw) =>
  /^[!#-&(-~]+$/.test(raw) ? raw : null,
);

/** The name of a user in HTTP Basic, which ends at its first colon (RFC 7617, section 2). */
export const loginName: Format<string> = format('the name alone, on one line and without a colon', (raw) =>
  /^[^\p{Cc}:]+$/u.test(raw) ? raw : null,
);

export const password: Format<string> = format('the password alone, on one line', (raw) => (/^\P{Cc}+$/u.test(raw) ? raw : null));

/** The main IPv4 address of a machine. */
export const ipv4: Format<string> = format('an IPv4 address, such as 203.0.113.31', (raw) => (isIP(raw) === 4 ? raw : null));

/** An IPv6 network by its first address, as providers write it. */
export const ipv6Net: Format<string> = format('the first address of an IPv6 net, such as 2001:db8:31::', (raw) => {
  const net = parseAddress(raw.replace(/\/64$/, ''));
  return net?.family === 6 && net.prefixLength === 128 && net.bytes.slice(8).every((byte) => byte === 0) ? net.text : null;
});

/** As much as fits into one variable of an environment (MAX_ARG_STRLEN, execve(2)), with room. */
const SECRET_LENGTH_MAX = 64 * 1024;

/** A credential of whatever kind, such as a key of several lines. */
export const anySecret: Format<string> = format('the secret itself', (raw) =>
  raw !== '' && !raw.includes('\0') && Buffer.byteLength(raw) <= SECRET_LENGTH_MAX ? raw : null,
);

export const word: Format<string> = format('one word of 256 characters at the most', (raw) =>
  /^\S{1,256}$/.test(raw) && !/\p{C}/u.test(raw) ? raw : null,
);

/** A program and what it is given. */
export interface CommandLine {
  readonly program: string;
  readonly args: readonly string[];
}

export const commandLine: Format<CommandLine> = {
  accepts: 'the absolute path of a program and its arguments, separated by spaces, such as /etc/leasehold/exec/command --region=fra1',
  parse: (raw) => {
    // Whoever writes these takes it for a line of shell, and it would not mean what it means there.
    if (/["'`\\$|&;<>]/.test(raw)) return { problem: 'there is no shell that would understand quotes, variables or pipes' };
    const [program = '', ...args] = raw.split(/\s+/);
    return program.startsWith('/') ? { value: { program, args } } : null;
  },
};

export const host: Format<string> = format('an IP address or a host name', (raw) =>
  isIP(raw) !== 0 || /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/i.test(raw) ? raw : null,
);

/** As netcup names servers; a name of one's own choice is none. */
export const serverName: Format<string> = format('the name that the panel shows, such as v2202601000000000001', (raw) =>
  /^[a-z0-9]([-a-z0-9.]{0,62}[a-z0-9])?$/i.test(raw) ? raw : null,
);

export const port: Format<number> = format('a port from 1 to 65535', (raw) => {
  const value = Number(raw);
  return /^\d{1,5}$/.test(raw) && value >= 1 && value <= 65_535 ? value : null;
});

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };
const LONGEST_MS = 24 * 60 * 60_000;

/** A duration in milliseconds, of a day at the most. */
export const duration: Format<number> = durationFrom('1ms');

/** A duration in milliseconds that is not shorter than another one. */
export function durationFrom(shortest: string): Format<number> {
  const shortestMs = parseDuration(shortest) ?? 1;
  return format(`a duration from ${shortest} to 1440m, such as 500ms, 3s or 1m`, (raw) => {
    const value = parseDuration(raw);
    return value !== null && value >= shortestMs && value <= LONGEST_MS ? value : null;
  });
}

function parseDuration(raw: string): number | null {
  const [, amount = '', unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(raw) ?? [];
  const value = Number(amount) * (UNITS_MS[unit] ?? Number.NaN);
  return amount !== '' && Number.isInteger(value) ? value : null;
}

/** A name as Kubernetes takes it for a Node, a Lease or a namespace (RFC 1123 subdomain). */
export const kubernetesName: Format<string> = format('lower-case letters, digits, "-" and ".", such as leasehold', (raw) =>
  raw.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(raw) ? raw : null,
);

/** What tells an object from all others: a UUID, or, for a pod that a file on the node describes, a hash of that. */
export const uid: Format<string> = format('a uid, such as 5f0c0a4e-0000-4000-8000-000000000001', (raw) =>
  /^[0-9a-z]([-0-9a-z]{0,62}[0-9a-z])?$/i.test(raw) ? raw : null,
);

/** A label selector as kubectl takes it: `app=web,tier!=test,track in (a,b),ready,!beta`. It selects something. */
export const labelSelector: Format<string> = format('labels as for kubectl --selector, such as app.kubernetes.io/name=web', (raw) => {
  const requirements = raw.split(/,(?![^(]*\))/).map((each) => each.trim());
  return requirements.every(isRequirement) ? requirements.join(',') : null;
});

const LABEL_KEY = '(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?';
const LABEL_VALUE = '(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?';
const REQUIREMENTS = [
  `!?\\s*${LABEL_KEY}`,
  `${LABEL_KEY}\\s*(?:=|==|!=)\\s*${LABEL_VALUE}`,
  `${LABEL_KEY}\\s+(?:in|notin)\\s*\\(\\s*${LABEL_VALUE}(?:\\s*,\\s*${LABEL_VALUE})*\\s*\\)`,
].map((each) => new RegExp(`^${each}$`));

function isRequirement(raw: string): boolean {
  return REQUIREMENTS.some((each) => each.test(raw));
}

export function oneOf<const Value extends string>(...values: readonly Value[]): Format<Value> {
  return format(values.join(' or '), (raw) => values.find((value) => value === raw) ?? null);
}

export const baseUrl: Format<string> = format('an http:// or https:// URL without credentials or query', (raw) => {
  if (!URL.canParse(raw)) return null;
  const { protocol, username, password, search, hash } = new URL(raw);
  const isPlain = username === '' && password === '' && search === '' && hash === '';
  return (protocol === 'http:' || protocol === 'https:') && isPlain ? raw.replace(/\/+$/, '') : null;
});

export const addressList: Format<readonly Address[]> = {
  accepts: 'IPv4 or IPv6 addresses separated by commas, such as 203.0.113.10,2001:db8::1',
  parse: (raw) => {
    const parts = splitList(raw);
    const addresses = parts.map((part) => ({ part, address: parseAddress(part) }));
    const bad = addresses.filter(({ address }) => address === null || isUnusable(address));
    if (bad.length > 0) return { problem: `${bad.map(({ part }) => withoutSecrets(part)).join(', ')} cannot be a failover IP` };
    const networks = addresses.filter(({ address }) => address !== null && isNetwork(address));
    if (networks.length > 0)
      return { problem: `${networks.map(({ part }) => part).join(', ')} is a network: name one address in it, such as 2001:db8::1` };
    const found = addresses.flatMap(({ address }) => (address === null ? [] : [address]));
    const doubles = found.filter(({ text: one }, index) => found.findIndex(({ text: other }) => other === one) !== index);
    if (doubles.length > 0) return { problem: `${doubles.map((double) => double.text).join(', ')} is named twice` };
    return found.length === 0 ? null : { value: found };
  },
};

/** The first address of an IPv6 network, as providers write the network itself (RFC 4291, section 2.6.1: for its routers). */
function isNetwork({ family, bytes, prefixLength }: Address): boolean {
  return family === 6 && prefixLength < 127 && bytes.every((byte, index) => maskedHostBits(byte, index, prefixLength) === 0);
}

/** The bits of one byte of an address that do not belong to its network. */
function maskedHostBits(byte: number, index: number, prefixLength: number): number {
  const networkBits = Math.min(8, Math.max(0, prefixLength - index * 8));
  return byte & (0xff >> networkBits);
}

/** Addresses that no router ever sends anywhere: unspecified, loopback, link-local, multicast. */
function isUnusable({ family, bytes }: Address): boolean {
  const [first = 0, second = 0] = bytes;
  if (family === 4) return first === 0 || first === 127 || first >= 224 || (first === 169 && second === 254);
  const isLow = bytes.slice(0, 15).every((byte) => byte === 0);
  return isLow || first === 0xff || (first === 0xfe && (second & 0xc0) === 0x80);
}

export const interfaceChoice: Format<InterfaceChoice> = format(
  'auto, a name, mac:86:00:00:aa:bb:02, cidr:10.0.0.0/8 or /^enp/',
  parseInterfaceChoice,
);

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

export const hostAndPort: Format<HostAndPort> = format('an IP address and a port, such as 127.0.0.1:9808 or [::1]:9808', (raw) => {
  const [, v6, v4, digits = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(raw) ?? [];
  const ip = v6 ?? v4 ?? '';
  const parsed = port.parse(digits);
  return isIP(ip) === (v6 === undefined ? 4 : 6) && parsed !== null && 'value' in parsed ? { host: ip, port: parsed.value } : null;
});

/** The parts of a comma-separated list. */
export function splitList(raw: string): string[] {
  return raw
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/**
 * A URL, or what was meant to be one, without what may be a credential: everything before an @, every query, and what looks like a
 * token, which somebody may have put into the wrong place.
 */
export function withoutSecrets(url: string): string {
  const [from, to] = [url.indexOf('//'), url.lastIndexOf('@')];
  const anonymous = from !== -1 && from < to ? `${url.slice(0, from)}//…${url.slice(to)}` : url;
  return anonymous.replace(/\?[^#]*/s, '?…').replace(/[\w-]{20,}/g, (run) => (looksLikeToken(run) ? '…' : run));
}

/** Names of hosts and files have one kind of letters, as a rule; what was drawn by chance has both, and digits. */
function looksLikeToken(run: string): boolean {
  return /[a-z]/.test(run) && /[A-Z]/.test(run) && /[0-9]/.test(run);
}
