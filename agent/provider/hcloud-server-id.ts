/**
 * Which Hetzner Cloud server this is.
 *
 * Guarantees: asks in a fixed order and says, where none of them knows, what each of them answered. Never guesses by name.
 * Facts: https://docs.hetzner.cloud (server metadata); the cloud controller manager writes `hcloud://<id>`.
 */
import type { ProviderHttp } from './http.ts';
import { asError } from '../clock.ts';
import { ProviderError } from './error.ts';

const METADATA_TIMEOUT_MS = 2_000;
/** The one question to the metadata service, for whoever counts. */
export const METADATA_OPERATION = 'GET metadata/instance-id';

export interface HcloudServerIdSources {
  /** HCLOUD_SERVER_ID, or null. */
  readonly configured: number | null;
  /** Such as `http://169.254.169.254/hetzner/v1/metadata`. */
  readonly metadataEndpoint: string;
  /** Reads this Node's `spec.providerID`, or says why it cannot be known. */
  readonly providerId: (signal: AbortSignal) => Promise<{ is: 'known'; value: string } | { is: 'unknown'; reason: string }>;
}

export class HcloudServerId {
  readonly #http: ProviderHttp;
  readonly #sources: HcloudServerIdSources;
  #id: number | null;
  #source: string;

  constructor(http: ProviderHttp, sources: HcloudServerIdSources) {
    this.#http = http;
    this.#sources = sources;
    this.#id = sources.configured;
    this.#source = sources.configured === null ? 'not found yet' : 'from HCLOUD_SERVER_ID';
  }

  /** Who has told the id, for people. */
  get source(): string {
    return this.#source;
  }

  /** The server's id, found once. Throws ProviderError. */
  async find(signal: AbortSignal): Promise<number> {
    if (this.#id !== null) return this.#id;
    const metadata = await this.#fromMetadata(signal);
    if (typeof metadata === 'number') return this.#found(metadata, 'from the metadata service');
    const node = await this.#fromNode(signal);
    if (typeof node === 'number') return this.#found(node, "from the Node's spec.providerID");
    throw new ProviderError('unavailable', `cannot tell which server this is: set HCLOUD_SERVER_ID (${metadata}; ${node})`);
  }

  #found(id: number, source: string): number {
    this.#id = id;
    this.#source = source;
    return id;
  }

  async #fromMetadata(signal: AbortSignal): Promise<number | string> {
    const url = `${this.#sources.metadataEndpoint.replace(/\/+$/, '')}/instance-id`;
    try {
      const { status, body } = await this.#http({
        method: 'GET',
        url,
        operation: METADATA_OPERATION,
        headers: { accept: 'text/plain' },
        timeoutMs: METADATA_TIMEOUT_MS,
        signal,
      });
      if (status !== 200) return `${url} answers ${status}`;
      return parseId(body.trim()) ?? `${url} answers with no number`;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      return asError(error).message;
    }
  }

  async #fromNode(signal: AbortSignal): Promise<number | string> {
    const providerId = await this.#sources.providerId(signal);
    if (providerId.is === 'unknown') return providerId.reason;
    const [, id = ''] = /^hcloud:\/\/(\d+)$/.exec(providerId.value) ?? [];
    return parseId(id) ?? `the Node's spec.providerID is "${providerId.value}" and not hcloud://<number>`;
  }
}

function parseId(text: string): number | null {
  const id = Number(text);
  return /^\d+$/.test(text) && Number.isSafeInteger(id) && id > 0 ? id : null;
}
