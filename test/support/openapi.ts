/**
 * Requests of ours, and answers of a stand-in, against a provider's own OpenAPI document.
 *
 * The documents are no part of this repository: they lie beside it, in `../shared/openapi`, where they can be had.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { at, listAt, stringAt } from '../../agent/json.ts';
import type { ProviderAnswer, ProviderCall } from '../../agent/provider/http.ts';

const pathOf = (name: string): string => fileURLToPath(new URL(`../../../shared/openapi/${name}`, import.meta.url));

/** Why a document cannot be read, or false when it can. */
export function cannotReadOpenApi(name: string): string | false {
  return existsSync(pathOf(name)) ? false : 'it is not beside this repository';
}

/** The document, with `nullable` said in JSON Schema's own words where it stands beside other schemas, and without what is gone. */
function load(name: string, gone: readonly string[]): unknown {
  return JSON.parse(readFileSync(pathOf(name), 'utf8'), (key, value: unknown) => {
    if (key === 'required' && Array.isArray(value)) return (value as string[]).filter((each) => !gone.includes(each));
    if (at(value, 'nullable') !== true || at(value, 'allOf') === undefined) return value;
    return { anyOf: [{ enum: [null] }, { allOf: at(value, 'allOf') }] };
  });
}

/** Checks exchanges against a document. */
export class OpenApiContract {
  readonly #document: unknown;
  readonly #prefix: string;
  readonly #ajv = new Ajv({ strict: false, validateFormats: false });

  /** `prefix`: what stands in our URLs before a path of the document. `gone`: fields that the provider has dropped since it was written. */
  constructor(name: string, prefix: string, gone: readonly string[] = []) {
    this.#document = load(name, gone);
    this.#prefix = prefix;
    this.#ajv.addSchema(this.#document as object, 'document');
  }

  check({ method, url, json }: Pick<ProviderCall, 'method' | 'url' | 'json'>, { status, body }: ProviderAnswer): void {
    const { pathname, searchParams } = new URL(url);
    const path = pathname.slice(pathname.startsWith(this.#prefix) ? this.#prefix.length : 0);
    const what = `${method} ${path}: ${status}`;
    const paths = Object.keys(at(this.#document, 'paths') as object);
    const template =
      paths.find((each) => new RegExp(`^${each.replaceAll(/\{\w+\}/g, '[0-9a-f-]+')}$`).test(path)) ?? assert.fail(`${what}: no such path`);
    const place = ['paths', template, method.toLowerCase()];
    const operation = at(this.#document, ...place) ?? assert.fail(`${what}: no such operation`);
    const parameters = (listAt(operation, 'parameters') ?? []).filter((parameter) => stringAt(parameter, 'in') === 'query');
    for (const [name, value] of searchParams) {
      const index = (listAt(operation, 'parameters') ?? []).indexOf(parameters.find((parameter) => stringAt(parameter, 'name') === name));
      assert.ok(index >= 0, `${what}: no such parameter: ${name}`);
      const type = stringAt(at((listAt(operation, 'parameters') ?? [])[index], 'schema'), 'type');
      const typed = type === 'integer' ? Number(value) : type === 'array' ? [value] : type === 'boolean' ? value === 'true' : value;
      this.#valid([...place, 'parameters', String(index), 'schema'], typed, `${what}: ${name}`);
    }
    const isBodyWanted = at(operation, 'requestBody') !== undefined;
    if (isBodyWanted) this.#valid([...place, 'requestBody', 'content', 'application/json', 'schema'], json, `${what}: the request`);
    const responses = at(operation, 'responses') as object;
    const key =
      [String(status), `${Math.floor(status / 100)}xx`].find((each) => Object.hasOwn(responses, each)) ??
      assert.fail(`${what}: not documented`);
    this.#valid([...place, 'responses', key, 'content', 'application/json', 'schema'], JSON.parse(body), `${what}: the answer`);
  }

  #valid(place: readonly string[], value: unknown, what: string): void {
    const pointer = place.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
    const validate = this.#ajv.getSchema(`document#/${pointer}`) ?? assert.fail(`${what}: no schema`);
    assert.ok(validate(value), `${what}: ${this.#ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`);
  }
}
