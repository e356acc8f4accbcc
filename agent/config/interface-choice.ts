/**
 * How INTERFACE is written.
 */
import { parseAddress } from '../address.ts';
import type { InterfaceChoice } from '../link/interface.ts';

/** IFNAMSIZ less its final zero. */
const NAME_LENGTH_MAX = 15;

/** Reads `auto`, a name, `mac:…`, `cidr:…` or `/regex/`; null for anything else. */
export function parseInterfaceChoice(text: string): InterfaceChoice | null {
  if (text === 'auto') return { is: 'auto' };
  if (text.startsWith('mac:')) {
    const mac = text.slice('mac:'.length).toLowerCase().replaceAll('-', ':');
    return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? { is: 'mac', mac } : null;
  }
  if (text.startsWith('cidr:')) {
    const network = parseAddress(text.slice('cidr:'.length));
    return network === null ? null : { is: 'cidr', network };
  }
  if (text.startsWith('/') && text.endsWith('/') && text.length > 2) {
    try {
      return { is: 'pattern', pattern: new RegExp(text.slice(1, -1)) };
    } catch {
      return null;
    }
  }
  return text.length <= NAME_LENGTH_MAX && /^[^\s/:]+$/.test(text) ? { is: 'name', name: text } : null;
}
