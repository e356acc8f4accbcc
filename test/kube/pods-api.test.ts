/**
 * One contract for what following an application asks of the Kubernetes API, kept by the stand-in and by a real
 * kube-apiserver: pods by labels, a Service by name, evictions. Where the two differ, the stand-in is wrong.
 *
 * There is neither a kubelet nor a controller: an administrator says of a pod where it is and whether it is ready, and of a
 * budget how many may go.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { at, integerAt, listAt, parseJson, stringAt } from '../../agent/json.ts';
import { ApplicationWatch } from '../../agent/kube/application-watch.ts';
import type { ApplicationName, ApplicationSight } from '../../agent/kube/application-watch.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { evict, listAgents } from '../../agent/kube/evictions.ts';
import type { OwnPod } from '../../agent/kube/evictions.ts';
import { AGENT_LABELS } from '../../agent/kube/pod.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import type { KubeHttp } from '../../agent/kube/transport.ts';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../../e2e/control-plane/control-plane.ts';
import { NAMESPACE } from '../../e2e/control-plane/our-manifests.ts';
import { eventually } from '../support/eventually.ts';
import { KubeApi } from '../support/kube-api.ts';
import { cannotRender, render } from '../support/manifests.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

/** A server that is held to the contract, and what an administrator does to it. Each pod and Service is of its namespace `default`. */
interface Served {
  readonly url: string;
  readonly ca: string;
  /** Of our ServiceAccount, with the rights that the overlay grants. */
  readonly agentToken: string;
  /** The version of the eviction API that it knows. */
  readonly evictionVersion: string;
  pod(name: string, words: { labels?: Record<string, string>; namespace?: string }): Promise<void>;
  bind(name: string, node: string, namespace?: string): Promise<void>;
  ready(name: string, isReady: boolean): Promise<void>;
  relabel(name: string, labels: Record<string, string>): Promise<void>;
  end(name: string): Promise<void>;
  remove(name: string): Promise<void>;
  service(name: string, selector: Record<string, string>): Promise<void>;
  removeService(name: string): Promise<void>;
  /** Lets no pod with a label be evicted. */
  budget(label: string): Promise<void>;
  uidOf(name: string): Promise<string>;
  isEnding(name: string): Promise<boolean>;
  forget(): Promise<void>;
  close(): Promise<void>;
}

async function serveStandIn(): Promise<Served> {
  const api = await KubeApi.start();
  const { objects } = api;
  const blocked = new Set<string>();
  objects.budget = ({ metadata }) => (blocked.has(metadata.labels?.['app'] ?? '') ? 'no more may go' : null);
  const words = new Map<string, { name: string; namespace: string; labels: Record<string, string>; node?: string; isReady?: boolean }>();
  const change = (name: string, by: object): Promise<void> => {
    const next = { name, namespace: 'default', labels: {}, ...words.get(name), ...by };
    words.set(name, next);
    objects.putPod(next);
    return Promise.resolve();
  };
  api.tokens.set('agent', {
    may: (verb, resource) =>
      (resource === 'pods/eviction' && verb === 'create') ||
      (['pods', 'services'].includes(resource) && ['get', 'list', 'watch'].includes(verb)),
  });
  const done = (what: () => unknown): Promise<void> => {
    what();
    return Promise.resolve();
  };
  return {
    url: api.http.url,
    ca: api.ca,
    agentToken: 'agent',
    evictionVersion: 'policy/v1',
    pod: (name, by) => change(name, by),
    bind: (name, node) => change(name, { node }),
    ready: (name, isReady) => change(name, { isReady }),
    relabel: (name, labels) => change(name, { labels }),
    end: (name) => done(() => objects.end(name)),
    remove: (name) => done(() => objects.remove('pods', name)),
    service: (name, selector) => done(() => objects.putService(name, selector)),
    removeService: (name) => done(() => objects.remove('services', name)),
    budget: (label) => done(() => blocked.add(label)),
    uidOf: (name) => Promise.resolve(objects.get('pods', words.get(name)?.namespace ?? 'default', name)?.metadata.uid ?? ''),
    isEnding: (name) =>
      Promise.resolve(objects.get('pods', words.get(name)?.namespace ?? 'default', name)?.metadata.deletionTimestamp !== undefined),
    forget: () => done(() => api.cutWatches()),
    close: () => api.close(),
  };
}

async function serveReal(): Promise<Served> {
  assert.ok(assets.is === 'available');
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-pods-'));
  const plane = await ControlPlane.start({ assets, folder });
  const { admin } = plane;
  const namespaces = new Map<string, string>();
  const collection = (name: string): string => `/api/v1/namespaces/${namespaces.get(name) ?? 'default'}/pods`;
  const path = (name: string): string => `${collection(name)}/${name}`;
  const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces';
  for (const object of render('overlays/beside-application')) {
    if (!/^leasehold-(application|eviction)$/.test(object.metadata.name)) continue;
    await admin.create(`${rbac}/${object.metadata.namespace ?? ''}/${object.kind === 'Role' ? 'roles' : 'rolebindings'}`, object);
  }
  const versions = (listAt(await admin.get('/apis/policy'), 'versions') ?? []).map((each) => stringAt(each, 'groupVersion'));
  const evictionVersion = versions.includes('policy/v1') ? 'policy/v1' : 'policy/v1beta1';
  const strategic = 'application/strategic-merge-patch+json';
  const condition = (name: string, isReady: boolean): Promise<unknown> =>
    admin.request(
      'PATCH',
      `${path(name)}/status`,
      { status: { phase: 'Running', conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] } },
      strategic,
    );
  return {
    url: plane.url,
    ca: plane.ca,
    agentToken: plane.token,
    evictionVersion,
    pod: async (name, { labels = {}, namespace = 'default' }) => {
      namespaces.set(name, namespace);
      const spec = { containers: [{ name: 'one', image: 'one' }] };
      await admin.create(collection(name), { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec });
    },
    bind: async (name, node) => {
      const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name }, target: { apiVersion: 'v1', kind: 'Node', name: node } };
      await admin.create(`${path(name)}/binding`, binding);
      await condition(name, false);
    },
    ready: async (name, isReady) => {
      await condition(name, isReady);
    },
    relabel: async (name, labels) => {
      await admin.request('PATCH', path(name), [{ op: 'replace', path: '/metadata/labels', value: labels }], 'application/json-patch+json');
    },
    // As a controller asks: the pod has its time to end, and no kubelet here says that it has.
    end: async (name) => {
      await admin.delete(path(name));
    },
    remove: async (name) => {
      await admin.request('DELETE', path(name), { gracePeriodSeconds: 0 });
    },
    service: async (name, selector) => {
      const services = '/api/v1/namespaces/default/services';
      const service = { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector, ports: [{ port: 80 }] } };
      if ((await admin.request('GET', `${services}/${name}`)).status === 404) await admin.create(services, service);
      else
        await admin.request(
          'PATCH',
          `${services}/${name}`,
          [{ op: 'replace', path: '/spec/selector', value: selector }],
          'application/json-patch+json',
        );
    },
    removeService: async (name) => {
      await admin.delete(`/api/v1/namespaces/default/services/${name}`);
    },
    // Nobody counts here, so that none may go.
    budget: async (label) => {
      const spec = { minAvailable: 1, selector: { matchLabels: { app: label } } };
      await admin.create(`/apis/${evictionVersion}/namespaces/${NAMESPACE}/poddisruptionbudgets`, {
        apiVersion: evictionVersion,
        kind: 'PodDisruptionBudget',
        metadata: { name: label },
        spec,
      });
    },
    uidOf: async (name) => stringAt(await admin.get(path(name)), 'metadata', 'uid') ?? '',
    isEnding: async (name) => at(await admin.get(path(name)), 'metadata', 'deletionTimestamp') !== undefined,
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

/** The same, in the words of an API server that knows only an earlier version of evictions. */
function speaking(version: string, http: KubeHttp): KubeHttp {
  return {
    stream: (call) => http.stream(call),
    request: (call) =>
      http.request(
        call.body === undefined ? call : { ...call, body: call.body.replace('"apiVersion":"policy/v1"', `"apiVersion":"${version}"`) },
      ),
  };
}

const assets = findAssets(process.env);
const never = new AbortController().signal;

for (const [what, serve, skip] of [
  ['the stand-in', serveStandIn, false],
  ['a real kube-apiserver', serveReal, assets.is === 'unavailable' ? assets.why : cannotRender()],
] as const) {
  describe(`following an application on ${what}`, { skip }, () => {
    let folder: string;
    let served: Served;
    let transport: KubeTransport;
    let http: KubeHttp;
    let count = 0;
    /** What one test is about: the value of the label `app`, and the beginning of every name. */
    let app: string;

    before(async () => {
      served = await serve();
      folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
      const path = join(folder, 'kubeconfig');
      writeFileSync(path, kubeconfigFor(served, served.agentToken));
      transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
      http = speaking(served.evictionVersion, transport);
    });
    after(async () => {
      transport.close();
      rmSync(folder, { recursive: true });
      await served.close();
    });
    beforeEach(() => {
      count += 1;
      app = `app-${count}`;
    });

    async function following(by: ApplicationName['by'], run: (until: (text: string) => Promise<void>) => Promise<void>): Promise<void> {
      let seen = 'nothing';
      const ending = new AbortController();
      const onSight = (sight: ApplicationSight): void => {
        const words =
          sight.is === 'unknown'
            ? [sight.reason]
            : sight.pods.map(({ name, node, isReady }) => `${name}@${node ?? '?'}${isReady ? '+' : ''}`);
        seen = words.sort().join(' ');
      };
      const watch = new ApplicationWatch(http, { namespace: 'default', by }, REAL_CLOCK, () => 0, {
        onSight,
        onState: () => undefined,
        onDropped: () => undefined,
      });
      const running = watch.run(ending.signal);
      try {
        await run((text) => eventually(`"${text}" is seen, not "${seen}"`, () => seen === text));
      } finally {
        ending.abort(new Error('the end'));
        await running;
      }
    }

    test('its pods are seen being made, bound, ready, not ready, ending and gone, and those of others are not', async () => {
      await following({ selector: `app=${app}` }, async (until) => {
        await until('');
        await served.pod(`${app}-1`, { labels: { app } });
        await served.pod(`${app}-other`, { labels: { app: 'other' } });
        await until(`${app}-1@?`);
        await served.bind(`${app}-1`, 'node-a');
        await until(`${app}-1@node-a`);
        await served.ready(`${app}-1`, true);
        await until(`${app}-1@node-a+`);
        await served.ready(`${app}-1`, false);
        await until(`${app}-1@node-a`);
        await served.ready(`${app}-1`, true);
        await until(`${app}-1@node-a+`);
        await served.end(`${app}-1`);
        await until(`${app}-1@node-a`);
        await served.remove(`${app}-1`);
        await until('');
      });
    });

    test('a pod that loses the labels is gone from it, and one that gets them is there', async () => {
      await served.pod(`${app}-1`, { labels: { app } });
      await following({ selector: `app=${app}` }, async (until) => {
        await until(`${app}-1@?`);
        await served.relabel(`${app}-1`, { app: 'quarantine' });
        await until('');
        await served.relabel(`${app}-1`, { app });
        await until(`${app}-1@?`);
      });
    });

    test('named by its Service it is what the Service selects at the time', async () => {
      await served.pod(`${app}-blue`, { labels: { app, track: 'blue' } });
      await served.pod(`${app}-green`, { labels: { app, track: 'green' } });
      await following({ service: app }, async (until) => {
        await until(`there is no Service default/${app}`);
        await served.service(app, { app, track: 'blue' });
        await until(`${app}-blue@?`);
        await served.service(app, { app, track: 'green' });
        await until(`${app}-green@?`);
        await served.removeService(app);
        await until(`there is no Service default/${app}`);
      });
    });

    test('what happened while the server was away is seen afterwards', async () => {
      await served.pod(`${app}-1`, { labels: { app } });
      await following({ selector: `app=${app}` }, async (until) => {
        await until(`${app}-1@?`);
        await served.forget();
        await served.bind(`${app}-1`, 'node-b');
        await until(`${app}-1@node-b`);
      });
    });

    describe('an eviction', () => {
      async function agent(labels: Record<string, string> = {}): Promise<OwnPod> {
        const name = `${app}-agent`;
        await served.pod(name, { namespace: NAMESPACE, labels: { ...AGENT_LABELS, ...labels } });
        await served.bind(name, 'node-a', NAMESPACE);
        await served.ready(name, true);
        return { namespace: NAMESPACE, name, uid: await served.uidOf(name) };
      }

      test('asks the pod to end, and an agent sees that of itself; rehearsed, it does nothing', async () => {
        const own = await agent();
        const self = async (): Promise<{ isEnding: boolean } | undefined> =>
          (await listAgents(http, NAMESPACE, never)).find(({ uid }) => uid === own.uid);
        assert.equal((await self())?.isEnding, false);
        assert.deepEqual(await evict(http, own, never, { rehearse: true }), { is: 'granted' });
        assert.equal(await served.isEnding(own.name), false);
        assert.deepEqual(await evict(http, own, never), { is: 'granted' });
        assert.equal(await served.isEnding(own.name), true);
        assert.equal((await self())?.isEnding, true);
      });

      test('of another pod of the same name evicts nobody, nor does one of a pod that is gone', async () => {
        const own = await agent();
        assert.deepEqual(await evict(http, { ...own, uid: '00000000-0000-4000-8000-000000000000' }, never), { is: 'gone' });
        assert.equal(await served.isEnding(own.name), false);
        assert.deepEqual(await evict(http, { ...own, name: `${app}-nobody` }, never), { is: 'gone' });
      });

      test('is refused for now where a PodDisruptionBudget says no, in a rehearsal, too', async () => {
        const own = await agent({ app });
        await served.budget(app);
        for (const rehearse of [true, false]) {
          const outcome = await evict(http, own, never, { rehearse });
          assert.ok(outcome.is === 'refused-for-now', JSON.stringify(outcome));
          assert.match(
            outcome.message,
            /cannot evict the pod leasehold\/app-\d+-agent: 429 Cannot evict pod as it would violate the pod's disruption budget/,
          );
        }
        assert.equal(await served.isEnding(own.name), false);
      });

      // The stand-in's rights know no namespaces.
      if (what !== 'the stand-in')
        test('of a pod elsewhere is refused for good, with what to grant', async () => {
          await served.pod(`${app}-1`, { labels: { app } });
          const outcome = await evict(http, { namespace: 'default', name: `${app}-1`, uid: await served.uidOf(`${app}-1`) }, never);
          assert.ok(outcome.is === 'failed' && outcome.isRefusal);
          assert.match(outcome.message, /403 .*; grant the verb "create" on pods\/eviction in the namespace default/);
        });

      test('is asked for in the version that servers from 1.22 on know', async () => {
        const own = await agent();
        const answers: { status: number; said: unknown }[] = [];
        const listening: KubeHttp = {
          stream: (call) => transport.stream(call),
          request: async (call) => {
            const answer = await transport.request(call);
            answers.push({ status: answer.status, said: parseJson(answer.body) });
            return answer;
          },
        };
        const outcome = await evict(listening, own, never);
        if (served.evictionVersion === 'policy/v1') return assert.deepEqual(outcome, { is: 'granted' });
        // An earlier one says so, which shows at least that it was asked for that.
        assert.equal(outcome.is, 'failed');
        assert.deepEqual([answers[0]?.status, integerAt(answers[0]?.said, 'code')], [400, 400]);
        assert.match(stringAt(answers[0]?.said, 'message') ?? '', /policy\/v1"/);
      });
    });
  });
}
