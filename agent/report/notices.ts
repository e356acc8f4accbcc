/**
 * What a provider has to say after the checks at the start: logged when it is news, and shown among their findings.
 */
import type { Logger } from 'pino';
import type { Finding, FindingLevel } from '../finding.ts';

const LOG_LEVELS = { ok: 'info', warn: 'error', fail: 'error' } as const satisfies Readonly<Record<FindingLevel, string>>;

export class Notices {
  readonly #logger: Logger;
  readonly #latest = new Map<string, Finding>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Takes in one, in the place of what was said before of the same thing. It holds no credential. */
  note(finding: Finding): void {
    const { name, level, message, advice } = finding;
    const before = this.#latest.get(name);
    this.#latest.set(name, finding);
    if (before?.level === level && before.message === message) return;
    this.#logger[LOG_LEVELS[level]]({ event: 'provider-notice', about: name }, advice === null ? message : `${message}: ${advice}`);
  }

  /** What was checked, with the latest of each thing in the place of what the checks had found of it. */
  addedTo<Checked extends { readonly findings: readonly Finding[] }>(checked: Checked | null): Checked | null {
    if (checked === null) return null;
    return { ...checked, findings: [...checked.findings.filter(({ name }) => !this.#latest.has(name)), ...this.#latest.values()] };
  }
}
