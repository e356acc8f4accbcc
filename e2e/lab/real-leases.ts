/**
 * The Lease of a real control plane, as agents reach it through a proxy and as an administrator sees and changes it.
 *
 * Guarantees: what it tells of the Lease comes from a watch of its own with all rights, past the proxy. A watch that breaks
 * is begun anew with a list; what was written in between is then seen as one change.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { listAt, stringAt } from '../../agent/json.ts';
import { leasesPath } from '../../agent/kube/lease-store.ts';
import { kubeconfigFor } from '../control-plane/control-plane.ts';
import type { ControlPlane } from '../control-plane/control-plane.ts';
import { LEASE_PATH, leaseManifest, NAMESPACE } from '../control-plane/our-manifests.ts';
import { ApiProxy } from './api-proxy.ts';
import type { Weather } from './api-proxy.ts';
import type { Leases, OnLease, SeenLease } from './leases.ts';
import { API_IPS, placeOf } from './network.ts';

const LIST_PATH = `${leasesPath(NAMESPACE)}?fieldSelector=metadata.name%3Dleasehold`;
const PAUSE_MS = 20;
/** No Lease has this version. */
const MISSING = 0;

export class RealLeases implements Leases {
  readonly namespace = NAMESPACE;
  readonly troubled = new Set<string>();
  readonly plane: ControlPlane;
  readonly #proxy: ApiProxy;
  readonly #onLease: OnLease;
  readonly #end = new AbortController();
  #lease: SeenLease | null = null;
  /** The resourceVersion of what was told last. */
  #version = 0;

  private constructor(plane: ControlPlane, proxy: ApiProxy, onLease: OnLease) {
    this.plane = plane;
    this.#proxy = proxy;
    this.#onLease = onLease;
  }

  /** Begins with the Lease as the manifests describe it, held by nobody ever. */
  static async open(plane: ControlPlane, onLease: OnLease): Promise<RealLeases> {
    const leases = new RealLeases(plane, await ApiProxy.start(plane, API_IPS.kubernetes), onLease);
    void leases.#watch();
    await leases.delete();
    await leases.recreate();
    return leases;
  }

  lease(): SeenLease | null {
    return this.#lease;
  }

  get kubeconfig(): string {
    return kubeconfigFor(this.#proxy, this.plane.token);
  }

  /** Changes what these nodes' agents meet on their way to the API server. */
  setWeather(nodes: readonly string[], weather: Weather): void {
    for (const node of nodes) {
      if (weather.is === 'fair') this.troubled.delete(node);
      else this.troubled.add(node);
    }
    this.#proxy.setWeather(
      nodes.map((node) => placeOf(node).ip),
      weather,
    );
  }

  /** Deletes the Lease, if there is one. Like the changes below, resolves when it has been told of. */
  async delete(): Promise<void> {
    await this.plane.admin.request('DELETE', LEASE_PATH);
    await this.caughtUp();
  }

  /** Creates the Lease as `kubectl apply` would after it was deleted. */
  async recreate(): Promise<void> {
    await this.plane.admin.create(leasesPath(NAMESPACE), leaseManifest());
    await this.caughtUp();
  }

  /** Changes the Lease as a person with kubectl would. */
  async edit(change: { readonly spec?: object; readonly metadata?: object }): Promise<void> {
    await this.plane.admin.patch(LEASE_PATH, change);
    await this.caughtUp();
  }

  async caughtUp(): Promise<void> {
    const before = this.#version;
    let stored: number | null = null;
    while (!this.#end.signal.aborted) {
      stored ??= await this.#storedVersion();
      // That there is none has been told when there was one and there is none any more, or another since.
      const isTold = stored === MISSING ? this.#lease === null || this.#version > before : stored !== null && this.#version >= stored;
      if (isTold) return;
      await pause(PAUSE_MS);
    }
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#proxy.close();
  }

  /** The version of the Lease as it is stored now; null when the API server does not say. */
  async #storedVersion(): Promise<number | null> {
    try {
      const { status, body } = await this.plane.admin.request('GET', LEASE_PATH);
      return status === 200 ? versionOf(body) : status === 404 ? MISSING : null;
    } catch {
      return null;
    }
  }

  async #watch(): Promise<void> {
    const { admin } = this.plane;
    while (!this.#end.signal.aborted) {
      try {
        const list = await admin.get(LIST_PATH);
        const [item] = listAt(list, 'items') ?? [];
        this.#take(item === undefined ? null : item, versionOf(list));
        const from = `${LIST_PATH}&watch=1&resourceVersion=${versionOf(list)}`;
        await admin.watch(from, ({ type, object }) => this.#take(type === 'DELETED' ? null : object, versionOf(object)), this.#end.signal);
      } catch {
        // The API server is away, or has ended the watch: it is asked again.
      }
      await pause(PAUSE_MS);
    }
  }

  #take(lease: unknown, version: number): void {
    // A line that is no Lease ends the watch.
    if (Number.isNaN(version)) throw new Error('the watch has told of something without a version');
    this.#version = version;
    this.#lease = lease as SeenLease | null;
    this.#onLease(this.#lease);
  }
}

function versionOf(object: unknown): number {
  return Number(stringAt(object, 'metadata', 'resourceVersion'));
}
