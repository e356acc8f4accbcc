/**
 * The secrets that are planted: each is drawn anew, has the form of the real thing, and shares no part with another.
 */
import { randomBytes } from 'node:crypto';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** As Hetzner Cloud makes them: 64 letters and digits. */
export function apiToken(): string {
  return [...randomBytes(64)].map((byte) => LETTERS[byte % LETTERS.length] ?? 'x').join('');
}

/** As an API server signs them for a ServiceAccount: three parts, some 900 characters. */
export function serviceAccountToken(): string {
  const part = (bytes: number): string => randomBytes(bytes).toString('base64url');
  return `${part(60)}.${part(360)}.${part(256)}`;
}

/** With everything in it that has to be escaped somewhere. */
export function password(): string {
  return `p@ss "${randomBytes(8).toString('hex')}"\\/+&=%wörd${randomBytes(8).toString('hex')}`;
}
