/**
 * Reads the raw settings and collects everything that is wrong with them.
 *
 * Guarantees: a value that its format refuses is noted as a problem, with the variable, the value and what is accepted, and
 * reads as null from then on. No problem shows a secret.
 */
import convict from 'convict';
import { asError } from '../clock.ts';
import { blotOut, Secret } from '../secret.ts';
import { withoutSecrets } from './formats.ts';
import { SCHEMA } from './schema.ts';
import type { SettingDefinition, SettingName } from './schema.ts';

/** What settings are read from besides the environment. */
export interface SettingsWorld {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  /** Reads a text file. Throws when it cannot. */
  readonly readFile: (path: string) => string;
  /** Where Kubernetes puts a pod's credentials. */
  readonly serviceAccountFolder: string;
}

/** What a secret's twin is called, which names a file to read it from. */
export const FILE_SUFFIX = '_FILE';
/** A shorter value may be an innocent word. */
const MISPLACED_LENGTH_MIN = 16;

type ValueOf<Name extends SettingName> = (typeof SCHEMA)[Name] extends SettingDefinition<infer Value> ? Value : never;

const NAMES = Object.keys(SCHEMA) as SettingName[];

export class SettingsReader {
  readonly problems: string[] = [];
  /** The value of every secret that was found, usable or not, by the name of its setting. */
  readonly #held = new Map<SettingName, string>();
  readonly #raw: Readonly<Record<string, string | null>>;
  readonly #world: SettingsWorld;

  constructor(world: SettingsWorld) {
    this.#world = world;
    const env = Object.fromEntries(Object.entries(world.env).filter(([, value]) => value !== undefined && value.trim() !== '')) as Record<
      string,
      string
    >;
    const trimmed = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.trim()]));
    const config = convict(this.#convictSchema(), { env: trimmed, args: [] });
    try {
      config.validate({ allowed: 'strict' });
    } catch {
      // Each format has put its problem, in better words, into the list.
    }
    this.#raw = config.getProperties();
  }

  /** The value of a setting, or null when it is unset or unusable. */
  get<Name extends SettingName>(name: Name): ValueOf<Name> | null {
    const raw = this.#raw[name];
    if (raw === null || raw === undefined) return null;
    const parsed = definitionOf(name).format.parse(raw);
    return parsed === null || 'problem' in parsed ? null : (parsed.value as ValueOf<Name>);
  }

  /** The value of a setting that there must be one for. */
  require<Name extends SettingName>(name: Name, why: string): ValueOf<Name> | null {
    if (this.#raw[name] === null) this.problems.push(`${name} is not set: ${why}; write ${definitionOf(name).format.accepts}`);
    return this.get(name);
  }

  /** Everything that is wrong, without any secret in it. */
  get shownProblems(): string[] {
    return this.problems.map((problem) => blotOut(problem, [...this.#held.values()]));
  }

  /** Notes every setting that holds a secret and is none: it would be shown as what it is not. */
  refuseMisplacedSecrets(): void {
    for (const [secret, value] of this.#held) {
      if (value.length < MISPLACED_LENGTH_MIN) continue;
      for (const name of NAMES) {
        if (definitionOf(name).isSecret === true || blotOut(this.#raw[name] ?? '', [value]) === (this.#raw[name] ?? '')) continue;
        this.problems.push(`${name} holds the value of ${secret}: a secret in a place where it is shown; take it out`);
      }
    }
  }

  /**
   * A credential, from its variable or from the file that its twin names; null where there is none. `why` there must be one; null
   * where there need not be.
   */
  secret(name: SettingName, why: string | null): Secret | null {
    const direct = this.#raw[name] ?? null;
    const path = this.#raw[name + FILE_SUFFIX] ?? null;
    if (direct !== null) this.#held.set(name, direct);
    if (direct !== null && path !== null) {
      this.problems.push(`${name} and ${name}${FILE_SUFFIX} are both set: keep one of them`);
      return null;
    }
    if (direct === null && path === null) {
      if (why !== null) this.problems.push(`${name} is not set: ${why}; set it, or name a file in ${name}${FILE_SUFFIX}`);
      return null;
    }
    try {
      const secret = new Secret(() => direct ?? this.#world.readFile(path ?? ''));
      this.#held.set(name, secret.reveal());
      const { format } = definitionOf(name);
      // What came from the variable itself has been checked already.
      if (direct !== null || format.parse(secret.reveal()) !== null) return secret;
      const wrong = secret.reveal() === '' ? 'names an empty file' : 'holds something else';
      this.problems.push(`${name}${FILE_SUFFIX}="${path ?? ''}" ${wrong}: write ${format.accepts} into it`);
    } catch (error) {
      const { code = 'no reason given' } = asError(error) as NodeJS.ErrnoException;
      // What is no path may be the secret itself.
      const shown = path?.includes('/') === true ? `="${path}"` : '';
      this.problems.push(`${name}${FILE_SUFFIX}${shown} cannot be read (${code}): write the path of a file, such as /run/secrets/token`);
    }
    return null;
  }

  /** The file that a credential is read from; null where it is in its variable. */
  secretPath(name: SettingName): string | null {
    return this.#raw[name + FILE_SUFFIX] ?? null;
  }

  /** Every variable as a text that its format has checked. */
  #convictSchema(): convict.Schema<Record<string, string | null>> {
    const entries = NAMES.flatMap((name) => {
      const definition = definitionOf(name);
      const own = [
        name,
        {
          env: name,
          default: definition.default,
          nullable: true,
          doc: definition.doc,
          sensitive: definition.isSecret === true,
          format: this.#check(name, definition),
        },
      ];
      const twin = [name + FILE_SUFFIX, { env: name + FILE_SUFFIX, default: null, nullable: true, doc: definition.doc, format: String }];
      return definition.isSecret === true ? [own, twin] : [own];
    });
    return Object.fromEntries(entries) as convict.Schema<Record<string, string | null>>;
  }

  #check(name: SettingName, { format, isSecret }: SettingDefinition<unknown>): (raw: unknown) => void {
    return (raw) => {
      const parsed = format.parse(String(raw));
      if (parsed !== null && 'value' in parsed) return;
      const shown = isSecret === true ? '' : `="${String(raw).split(',').map(withoutSecrets).join(',')}"`;
      const detail = parsed === null ? '' : ` (${parsed.problem})`;
      this.problems.push(`${name}${shown} is not accepted${detail}: write ${format.accepts}`);
    };
  }
}

function definitionOf(name: SettingName): SettingDefinition<unknown> {
  return SCHEMA[name];
}
