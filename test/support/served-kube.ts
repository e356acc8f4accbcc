/**
 * The servers that a contract of the Kubernetes API is tested against: the stand-in and a real kube-apiserver, each with what our
 * manifests describe, an administrator and an agent.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listAt, stringAt } from '../../agent/json.ts';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane } from '../../e2e/control-plane/control-plane.ts';
import type { Answer } from '../../e2e/control-plane/kube-admin.ts';
import { NAMESPACE } from '../../e2e/control-plane/our-manifests.ts';
import { KubeApi } from './kube-api.ts';
import { permissionsOfTheRole } from './manifests.ts';

/** A server that is held to the contract. */
export interface Served {
  readonly url: string;
  readonly ca: string;
  readonly adminToken: string;
  /** Of our ServiceAccount, with the rights of our Role. */
  readonly agentToken: string;
  /** Makes the server forget what happened so far, for watches. */
  forget(): Promise<void>;
  close(): Promise<void>;
}

/** Each of them, with the reason why it is left out where it is. */
export function servers(): readonly { readonly what: string; readonly serve: () => Promise<Served>; readonly skip: string | false }[] {
  const assets = findAssets(process.env);
  return [
    { what: 'the stand-in', serve: serveStandIn, skip: false },
    { what: 'a real kube-apiserver', serve: () => serveReal(assets), skip: assets.is === 'unavailable' ? assets.why : false },
  ];
}

async function serveStandIn(): Promise<Served> {
  const api = await KubeApi.start();
  api.tokens.set('admin', { may: () => true });
  const role = permissionsOfTheRole();
  api.tokens.set('agent', {
    may: (verb, resource, name, namespace) => namespace === NAMESPACE && role.may(verb, resource, name, namespace),
  });
  api.create({}, { namespace: NAMESPACE, labels: { 'app.kubernetes.io/name': 'leasehold' } });
  return {
    url: api.http.url,
    ca: api.ca,
    adminToken: 'admin',
    agentToken: 'agent',
    forget: () => {
      api.cutWatches();
      api.compact();
      return Promise.resolve();
    },
    close: () => api.close(),
  };
}

async function serveReal(assets: ReturnType<typeof findAssets>): Promise<Served> {
  assert.ok(assets.is === 'available');
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-contract-'));
  const plane = await ControlPlane.start({ assets, folder });
  return {
    url: plane.url,
    ca: plane.ca,
    adminToken: plane.adminToken,
    agentToken: plane.token,
    // What a watch can resume from is in the server's memory.
    forget: async () => {
      await plane.killApiserver();
      await plane.startApiserver();
    },
    close: async () => {
      await plane.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Everything in an answer that the agent looks at: status, reason, the name it is about, the fields that are wrong. */
export function seen({ status, body }: Answer): string {
  const fields = (listAt(body, 'details', 'causes') ?? []).map((cause) => stringAt(cause, 'field') ?? stringAt(cause, 'reason'));
  // What was asked for may have a reason of its own.
  const reason = status < 300 ? undefined : stringAt(body, 'reason');
  const parts = [status, reason, stringAt(body, 'details', 'name'), ...new Set(fields)];
  return parts.filter((part) => part !== undefined).join(' ');
}
