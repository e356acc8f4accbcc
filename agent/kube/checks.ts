/**
 * What the preflight looks at in the Kubernetes API: the way there, what this agent may do, and the Lease itself.
 *
 * Guarantees: reads only. What the agent may do is asked of the API server (SelfSubjectAccessReview), which stores nothing.
 */
import { addressText, parseAddress } from '../address.ts';
import { asError } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { LeaseRecord } from '../contender/lease.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Check, Finding } from '../finding.ts';
import { at, messageAt, parseJson, stringAt } from '../json.ts';
import { decodeLease } from './lease-codec.ts';
import type { LeaseName } from './lease-codec.ts';
import { advice, isMissing, leasePath } from './lease-store.ts';
import type { KubeHttp } from './transport.ts';

export interface KubeChecksOptions {
  readonly http: KubeHttp;
  readonly lease: LeaseName;
  /** What the agent follows; null where it follows nothing. */
  readonly application: FollowedApplication | null;
  /** The addresses that the agent keeps. */
  readonly addresses: readonly string[];
  /** Where the API server is. Throws where the credentials cannot be read. */
  readonly apiServer: () => Promise<URL>;
  /** All addresses of a host name. Throws where it has none. */
  readonly resolve: (hostname: string) => Promise<readonly string[]>;
  readonly isAnotherPrograms: (record: LeaseRecord) => boolean;
  /** The node that an identity names. */
  readonly nodeOf: (identity: string) => string;
  /** How long one request may take while the agent renews. */
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
}

const TIMEOUT_MS = 5_000;
const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const APPLICATION_RIGHTS = 'rights: application';
const SETTING = 'KUBECONFIG, or KUBERNETES_SERVICE_HOST and _PORT';

/** An application that the agent follows, and what that takes. */
export interface FollowedApplication {
  readonly namespace: string;
  /** Whether it is named by its Service. */
  readonly byService: boolean;
  /** The namespace of the agent's own pod, where it may have that evicted; null where it may not. */
  readonly evictsIn: string | null;
}

/** One thing that the agent does with the API. */
interface Right {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  /** Null: not limited to a name. */
  readonly name: string | null;
}

export function kubeChecks(options: KubeChecksOptions): Check[] {
  return [
    { name: 'kubernetes', run: async (signal) => [await checkVersion(options, signal)] },
    { name: 'way to the API', run: async () => await checkWay(options) },
    { name: 'rights', run: async (signal) => await checkRights(options, signal) },
    { name: APPLICATION_RIGHTS, run: async (signal) => await checkApplicationRights(options, signal) },
    { name: 'lease', run: async (signal) => [await checkLease(options, signal)] },
  ];
}

async function checkVersion({ http, apiServer, requestTimeoutMs, clock }: KubeChecksOptions, signal: AbortSignal): Promise<Finding> {
  const name = 'kubernetes';
  try {
    const { origin } = await apiServer();
    const first = await http.request({ method: 'GET', path: '/version', timeoutMs: TIMEOUT_MS, signal });
    const startedAtMs = clock.nowMs();
    const { status, body } = await http.request({ method: 'GET', path: '/version', timeoutMs: TIMEOUT_MS, signal });
    const tookMs = Math.round(clock.nowMs() - startedAtMs);
    if (first.status === 401 || status === 401) {
      return fail(name, `${origin} does not accept the credentials`, 'check the service account or the kubeconfig');
    }
    const version = stringAt(parseJson(body), 'gitVersion');
    const what = `${origin} answers within ${tookMs} ms, ${version === undefined ? `and does not tell its version (${status})` : `Kubernetes ${version}`}`;
    if (tookMs <= requestTimeoutMs / 2) return ok(name, what);
    return warn(
      name,
      `${what}; a renewal is waited for ${requestTimeoutMs} ms`,
      'raise LEASE_DURATION and RENEW_DEADLINE, or let the agent ask an API server that is nearer',
    );
  } catch (error) {
    return fail(name, asError(error).message, `see that the API server runs and can be reached from this node: ${SETTING}`);
  }
}

/** An agent that reaches the API through the address that it keeps saws off the branch it sits on. */
async function checkWay({ apiServer, resolve, addresses }: KubeChecksOptions): Promise<Finding[]> {
  const name = 'way to the API';
  let hostname: string;
  try {
    hostname = (await apiServer()).hostname.replace(/^\[|\]$/g, '');
  } catch {
    // What is wrong with the credentials is said where they are used.
    return [];
  }
  try {
    const literal = parseAddress(hostname);
    const found = literal === null ? await resolve(hostname) : [hostname];
    const texts = found.map((each) => {
      const parsed = parseAddress(each);
      return parsed === null ? each : addressText(parsed.bytes);
    });
    const own = texts.find((each) => addresses.includes(each));
    const where = literal === null ? `${hostname} (${texts.join(', ')})` : hostname;
    if (own === undefined) return [ok(name, `${where} is none of ADDRESSES`)];
    return [
      fail(
        name,
        `the API server is asked at ${where}, which is one of ADDRESSES: whoever loses the address could not ask for it any more`,
        `name an API server that does not depend on it, such as this node's own (${SETTING})`,
      ),
    ];
  } catch (error) {
    return [warn(name, `${hostname} cannot be looked up: ${asError(error).message}`, 'see that the resolver of this node works')];
  }
}

async function checkRights({ http, lease }: KubeChecksOptions, signal: AbortSignal): Promise<Finding[]> {
  const leases = { group: 'coordination.k8s.io', resource: 'leases' };
  const events = { group: 'events.k8s.io', resource: 'events', name: null };
  const needed: readonly Right[] = [
    ...['get', 'list', 'watch', 'patch'].map((verb) => ({ ...leases, verb, name: lease.name })),
    { ...leases, verb: 'create', name: null },
  ];
  const wished: readonly Right[] = ['create', 'patch'].map((verb) => ({ ...events, verb }));
  try {
    const missing: Right[] = [];
    // One after the other, because the agent has better things to do than to open connections.
    for (const right of [...needed, ...wished]) if (!(await isAllowed(http, lease.namespace, right, signal))) missing.push(right);
    const where = `in the namespace ${lease.namespace}`;
    const fatal = missing.filter((right) => needed.includes(right));
    const slight = missing.filter((right) => wished.includes(right));
    const apply = `apply the Role in manifests/base ${where}${lease.name === 'leasehold' ? '' : `, with ${lease.name} in its resourceNames`}`;
    return [
      fatal.length === 0
        ? ok('rights', `this agent may ${rightsText(needed)} ${where}`)
        : fail('rights', `this agent may not ${rightsText(fatal)} ${where}`, apply),
      slight.length === 0
        ? ok('rights: events', `it may write Events ${where}`)
        : warn('rights: events', `it may not ${rightsText(slight)} ${where}: what happens shows in the log only`, apply),
    ];
  } catch (error) {
    return [
      warn('rights', `the API server cannot be asked what this agent may do: ${asError(error).message}`, 'see what is said of kubernetes'),
    ];
  }
}

/** What only an agent that follows an application needs. */
async function checkApplicationRights({ http, application }: KubeChecksOptions, signal: AbortSignal): Promise<Finding[]> {
  if (application === null) return [];
  const { namespace, byService, evictsIn } = application;
  const resources = ['pods', ...(byService ? ['services'] : [])];
  const seen = resources.flatMap((resource) => ['list', 'watch'].map((verb) => ({ group: '', resource, verb, name: null })));
  const pods = { group: '', resource: 'pods', name: null };
  const replaced: readonly Right[] = [
    { ...pods, verb: 'list' },
    { ...pods, subresource: 'eviction', verb: 'create' },
  ];
  const groups = [{ namespace, rights: seen }, ...(evictsIn === null ? [] : [{ namespace: evictsIn, rights: replaced }])];
  const findings: Finding[] = [];
  try {
    for (const { namespace: where, rights } of groups) {
      const missing: Right[] = [];
      for (const right of rights) if (!(await isAllowed(http, where, right, signal))) missing.push(right);
      const place = `in the namespace ${where}`;
      findings.push(
        missing.length === 0
          ? ok(APPLICATION_RIGHTS, `it may ${rightsText(rights)} ${place}`)
          : fail(
              APPLICATION_RIGHTS,
              `it may not ${rightsText(missing)} ${place}`,
              'apply the Roles of manifests/overlays/beside-application',
            ),
      );
    }
    return findings;
  } catch (error) {
    return [warn(APPLICATION_RIGHTS, `the API server cannot be asked: ${asError(error).message}`, 'see what is said of kubernetes')];
  }
}

/** `get, patch leases/leasehold; create leases`. */
function rightsText(rights: readonly Right[]): string {
  const verbs = new Map<string, string[]>();
  for (const { verb, resource, subresource, name } of rights) {
    const what = [resource, name, subresource].filter((each) => each != null).join('/');
    verbs.set(what, [...(verbs.get(what) ?? []), verb]);
  }
  return [...verbs].map(([what, some]) => `${some.join(', ')} ${what}`).join('; ');
}

async function isAllowed(
  http: KubeHttp,
  namespace: string,
  { verb, group, resource, subresource, name }: Right,
  signal: AbortSignal,
): Promise<boolean> {
  const resourceAttributes = {
    namespace,
    verb,
    group,
    resource,
    ...(subresource === undefined ? {} : { subresource }),
    ...(name === null ? {} : { name }),
  };
  const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } };
  const { status, body } = await http.request({
    method: 'POST',
    path: REVIEWS,
    body: JSON.stringify(review),
    timeoutMs: TIMEOUT_MS,
    signal,
  });
  const json = parseJson(body);
  const allowed = at(json, 'status', 'allowed');
  if (status >= 300 || typeof allowed !== 'boolean') throw new Error(`${status} ${messageAt(json, 'message') ?? 'without an explanation'}`);
  return allowed;
}

async function checkLease({ http, lease, isAnotherPrograms, nodeOf }: KubeChecksOptions, signal: AbortSignal): Promise<Finding> {
  const name = 'lease';
  const what = `${lease.namespace}/${lease.name}`;
  try {
    const answer = await http.request({ method: 'GET', path: leasePath(lease), timeoutMs: TIMEOUT_MS, signal });
    if (isMissing(answer, lease)) {
      return warn(
        name,
        `there is no Lease ${what}: the first agent creates it, after waiting for a whole lease duration`,
        'apply the manifests, which create it, or see that LEASE_NAME and LEASE_NAMESPACE are right',
      );
    }
    if (answer.status !== 200) {
      const said = messageAt(parseJson(answer.body), 'message') ?? 'no explanation';
      return fail(
        name,
        `${what} cannot be read: ${answer.status} ${said}`,
        advice(answer.status, 'get').replace(/^; /, '') || 'see to the API server',
      );
    }
    const record = decodeLease(parseJson(answer.body));
    if (record === null) return fail(name, `the answer is not a Lease`, `see that ${SETTING} lead to a Kubernetes API`);
    if (isAnotherPrograms(record)) {
      return fail(
        name,
        `${what} ${record.holder === '' ? 'was held by another program' : `is held by another program, "${record.holder}"`}`,
        'delete it, or name another one in LEASE_NAME and in the resourceNames of the Role',
      );
    }
    if (record.holder === '') return ok(name, `${what} is there, and nobody holds it`);
    return ok(name, `${what} is held by ${nodeOf(record.holder)}, in term ${record.transitions}`);
  } catch (error) {
    return fail(name, `${what} cannot be read: ${asError(error).message}`, 'see what is said of kubernetes');
  }
}
