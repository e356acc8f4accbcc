/**
 * The one schema of every setting.
 *
 * Guarantees: nothing else reads the environment. The settings table in the documentation is made from this, so the two
 * cannot differ. It only says what each setting is; how text becomes a value is in formats.ts.
 */
import type { Format } from './formats.ts';
import {
  absolutePath,
  addressList,
  anySecret,
  baseUrl,
  commandLine,
  duration,
  durationFrom,
  host,
  hostAndPort,
  interfaceChoice,
  ipv4,
  ipv6Net,
  kubernetesName,
  labelSelector,
  loginName,
  oneOf,
  password,
  port,
  positiveInteger,
  serverName,
  text,
  token,
  uid,
  word,
} from './formats.ts';
import type { ProviderProfile } from '../provider/profile.ts';
import { PROVIDER_NAMES, profileOf } from '../provider/profiles.ts';
import { probeList } from './probe-text.ts';

export interface SettingDefinition<Value> {
  readonly format: Format<Value>;
  /** The default as a person would write it; null when there is none or another setting gives it. */
  readonly default: string | null;
  /** What the documentation shows as the default where that is not a fixed text. */
  readonly defaultDoc?: string;
  /** A credential: never shown, and with a `_FILE` twin that names a file to read it from. */
  readonly isSecret?: true;
  readonly doc: string;
}

function setting<Value>(definition: SettingDefinition<Value>): SettingDefinition<Value> {
  return definition;
}

/** A default that depends on the provider, as the documentation shows it: what most have, and who has another one. */
function defaultsOf(defaultMs: (profile: ProviderProfile) => number): string {
  const named = PROVIDER_NAMES.filter((name) => profileOf(name).kind === 'routed').map((name) => ({
    name,
    ms: defaultMs(profileOf(name)),
  }));
  const usual = named[0]?.ms ?? 0;
  const others = named.filter(({ ms }) => ms !== usual).map(({ name, ms }) => `${ms / 1_000}s with \`${name}\``);
  return [`\`${usual / 1_000}s\``, ...others].join(', ');
}

/** Every setting, by the name of its environment variable, in the order of the documentation. */
export const SCHEMA = {
  NODE_NAME: setting({
    format: kubernetesName,
    default: null,
    defaultDoc: 'host name',
    doc: 'The node this agent runs on, as Kubernetes names it; the manifests fill it in.',
  }),
  POD_NAME: setting({ format: kubernetesName, default: null, doc: "The agent's own pod, for its Events; the manifests fill it in." }),
  POD_NAMESPACE: setting({ format: kubernetesName, default: null, doc: "The agent's own namespace; the manifests fill it in." }),
  POD_UID: setting({ format: uid, default: null, doc: "The uid of the agent's own pod; the manifests fill it in." }),
  KUBECONFIG: setting({
    format: text,
    default: null,
    defaultDoc: 'in-cluster',
    doc: "Path of a kubeconfig. Where it is set, it is used instead of the pod's service account.",
  }),
  KUBERNETES_SERVICE_HOST: setting({
    format: host,
    default: null,
    doc: 'Host of the Kubernetes API in a cluster; Kubernetes fills it in.',
  }),
  KUBERNETES_SERVICE_PORT: setting({
    format: port,
    default: '443',
    doc: 'Port of the Kubernetes API in a cluster; Kubernetes fills it in.',
  }),
  LEASE_NAME: setting({
    format: kubernetesName,
    default: 'leasehold',
    doc: 'The Lease that the agents contend for. The Role must name it, too, in `resourceNames`.',
  }),
  LEASE_NAMESPACE: setting({
    format: kubernetesName,
    default: null,
    defaultDoc: "`POD_NAMESPACE`, else the service account's, else `default`",
    doc: 'The namespace of the Lease.',
  }),
  LEASE_DURATION: setting({
    format: duration,
    default: '3s',
    doc: 'How long a candidate waits for a sign of life of the holder before it takes over. With `PROVIDER=l2` on a kernel that cannot keep the packet filter at least 2909ms.',
  }),
  RENEW_DEADLINE: setting({
    format: duration,
    default: '2s',
    doc: 'A holder that could not renew for this long gives up. Must leave 250ms and 2 % of `LEASE_DURATION` free.',
  }),
  RENEW_INTERVAL: setting({ format: duration, default: '500ms', doc: 'How often a holder renews. At most half of `RENEW_DEADLINE`.' }),
  ADDRESSES: setting({
    format: addressList,
    default: null,
    doc: 'Required. The addresses that move together, such as `203.0.113.10,2001:db8::1`. A prefix length may follow each; /32 and /128 otherwise.',
  }),
  INTERFACE: setting({
    format: interfaceChoice,
    default: 'auto',
    doc:
      'The interface that carries the addresses: a name, `mac:…`, `cidr:…` or `/regex/`. `auto` takes the one whose own subnet contains the address, ' +
      "else the default route's; with `hcloud-alias-ip` the one in the private network, by the hardware address that the provider names.",
  }),
  PROVIDER: setting({
    format: oneOf(...PROVIDER_NAMES),
    default: null,
    doc:
      'Required. What sends traffic for the addresses to a node: `hcloud-floating-ip`, `hcloud-alias-ip` for addresses in a private network of Hetzner ' +
      'Cloud, `netcup` for failover IPs of netcup, `hetzner-robot` for those of dedicated servers at Hetzner, `exec` for a command of your own, or `l2` ' +
      'for a segment that the nodes share, by ARP and NDP.',
  }),
  PROVIDER_TIMEOUT: setting({
    format: durationFrom('5s'),
    default: null,
    defaultDoc: defaultsOf((profile) => profile.claimTimeoutMs),
    doc:
      'How long one claim may take in all before another node may try. Also how long a node goes on serving after it has stepped down, and part of how ' +
      "long the kernel keeps the address if the agent dies. The pod's `terminationGracePeriodSeconds` must be 15 s more. Without effect with `PROVIDER=l2`.",
  }),
  VERIFY_INTERVAL: setting({
    format: durationFrom('5s'),
    default: null,
    defaultDoc: defaultsOf((profile) => profile.verifyIntervalMs),
    doc: 'How often a holder reads back where the provider routes the addresses. Without effect with `PROVIDER=l2`.',
  }),
  MOVES_PER_HOUR: setting({
    format: positiveInteger,
    default: '30',
    doc:
      'How often an address may move within an hour before its holder stops claiming it back from somebody else who takes it away. All moves count that ' +
      'this agent has made or seen, failovers too, but no failover is held back by it. What the provider itself grants is kept besides. ' +
      '(With `hcloud-alias-ip` each of the two changes of a move counts.) Without effect with `PROVIDER=l2`.',
  }),
  HCLOUD_TOKEN: setting({
    format: token,
    default: null,
    isSecret: true,
    doc: 'Required for `hcloud-floating-ip` and `hcloud-alias-ip`. An API token of the project, with read & write permission.',
  }),
  HCLOUD_ENDPOINT: setting({ format: baseUrl, default: 'https://api.hetzner.cloud/v1', doc: 'The Hetzner Cloud API.' }),
  HCLOUD_METADATA_ENDPOINT: setting({
    format: baseUrl,
    default: 'http://169.254.169.254/hetzner/v1/metadata',
    doc: "The server's metadata service.",
  }),
  HCLOUD_SERVER_ID: setting({
    format: positiveInteger,
    default: null,
    defaultDoc: 'found by itself',
    doc:
      "This server's number, where neither the metadata service nor the Node's `spec.providerID` tells it. (The Node is asked only where the agent may " +
      'read it, which the component `node-reading` of the manifests allows.)',
  }),
  HCLOUD_NETWORK: setting({
    format: text,
    default: null,
    defaultDoc: 'found by itself',
    doc: 'With `hcloud-alias-ip`: the private network that the addresses are in, by id or name, where the server is in several.',
  }),
  NETCUP_REFRESH_TOKEN: setting({
    format: token,
    default: null,
    isSecret: true,
    doc: 'Required for `netcup`. A refresh token of the Server Control Panel, as `leasehold netcup-login` gets it. Where netcup replaces it, the new one is written to the file, if that can be written.',
  }),
  NETCUP_ENDPOINT: setting({
    format: baseUrl,
    default: 'https://www.servercontrolpanel.de/scp-core',
    doc: "The API of netcup's Server Control Panel.",
  }),
  NETCUP_AUTH_ENDPOINT: setting({
    format: baseUrl,
    default: 'https://www.servercontrolpanel.de/realms/scp/protocol/openid-connect',
    doc: 'Where it gives out tokens.',
  }),
  NETCUP_SERVER_ID: setting({
    format: positiveInteger,
    default: null,
    defaultDoc: 'found by itself',
    doc: "This server's number at netcup. It is different on each node.",
  }),
  NETCUP_SERVER_NAME: setting({
    format: serverName,
    default: null,
    defaultDoc: 'found by itself',
    doc:
      "This server's name at netcup, such as `v2202601000000000001`, different on each node. Where neither is set, the Node's annotations `netcup.noshoes.xyz/server-name` and " +
      "`netcup.noshoes.xyz/primary-mac` tell (with the component `node-reading` of the manifests), else the node's hardware address, else its main address.",
  }),
  ROBOT_USER: setting({
    format: loginName,
    default: null,
    isSecret: true,
    doc: 'Required for `hetzner-robot`. The web-service user, which is made in the settings of Hetzner Robot; not the login to Robot itself.',
  }),
  ROBOT_PASSWORD: setting({ format: password, default: null, isSecret: true, doc: 'Required for `hetzner-robot`. Its password.' }),
  ROBOT_ENDPOINT: setting({ format: baseUrl, default: 'https://robot-ws.your-server.de', doc: 'The webservice of Hetzner Robot.' }),
  ROBOT_SERVER_IP: setting({
    format: ipv4,
    default: null,
    defaultDoc: 'found by itself',
    doc:
      "This server's main IPv4 address, where neither the Node's `spec.providerID` nor the addresses on its interfaces tell which of the account's " +
      'servers it is. It is different on each node.',
  }),
  ROBOT_SERVER_IPV6_NET: setting({
    format: ipv6Net,
    default: null,
    defaultDoc: 'found by itself',
    doc: "This server's main IPv6 net, such as `2001:db8:31::`, for an IPv6 failover net where `ROBOT_USER` may not list the servers.",
  }),
  EXEC_COMMAND: setting({
    format: commandLine,
    default: null,
    doc:
      'Required for `exec`. The absolute path of a program and its arguments, separated by spaces, without a shell or quotes. It is run with ' +
      '`locate ADDRESS` or `claim ADDRESS` behind them ([docs/exec.md](docs/exec.md)).',
  }),
  EXEC_SECRET: setting({
    format: anySecret,
    default: null,
    isSecret: true,
    doc: 'What that command proves itself with, if it needs anything for that. It finds it in its environment under this name.',
  }),
  EXEC_SERVER: setting({
    format: word,
    default: null,
    defaultDoc: '`NODE_NAME`',
    doc: 'What this node is called at the provider: what `locate` writes when the address is here. It is different on each node. The command finds it in its environment.',
  }),
  PROBES: setting({
    format: probeList,
    default: '',
    defaultDoc: 'none',
    doc:
      'What must answer for this node to be healthy: `http(s)://…` and `tcp://host:port`. Settings of one probe go into its fragment: ' +
      '`http://127.0.0.1:10254/healthz#interval=2s&fall=2`, with `interval`, `timeout`, `rise`, `fall`, and for HTTP `expect=` (200-399 by default; `200`, `200-299`, or several joined by `+`), ' +
      '`host=`, `ca=/path`, `verify=true|false` (TLS is verified except on loopback).',
  }),
  PROBE_INTERVAL: setting({ format: duration, default: '1s', doc: 'How often a probe asks.' }),
  PROBE_TIMEOUT: setting({ format: duration, default: '1s', doc: 'How long a probe waits for its answer.' }),
  PROBE_RISE: setting({ format: positiveInteger, default: '1', doc: 'So many good answers in a row make a probe healthy.' }),
  PROBE_FALL: setting({ format: positiveInteger, default: '2', doc: 'So many bad answers in a row make it unhealthy.' }),
  APPLICATION_SELECTOR: setting({
    format: labelSelector,
    default: null,
    doc:
      'The labels of an application, as for `kubectl --selector`: a node is healthy only while a ready pod of it is there, besides what `PROBES` say. ' +
      'Either this or `APPLICATION_SERVICE`; `PROBE_RISE` and `PROBE_FALL` apply.',
  }),
  APPLICATION_SERVICE: setting({
    format: kubernetesName,
    default: null,
    doc: 'The same for an application that is named by its Service, whose own selector is followed.',
  }),
  APPLICATION_NAMESPACE: setting({
    format: kubernetesName,
    default: null,
    defaultDoc: "the agent's own",
    doc: 'The namespace of that application.',
  }),
  APPLICATION_EVICTION: setting({
    format: oneOf('true', 'false'),
    default: 'false',
    doc:
      'Whether an agent that the application has left behind has its own pod evicted, so that a new one is placed beside the application. For a ' +
      'Deployment with podAffinity, and with the rights that `manifests/overlays/beside-application` or the chart grants.',
  }),
  APPLICATION_ABSENCE_MAX: setting({
    format: durationFrom('1s'),
    default: '10s',
    doc: 'How long no pod of the application has been on this node before the agent has itself evicted, if it is ready on another one by then.',
  }),
  LISTEN: setting({
    format: hostAndPort,
    default: '127.0.0.1:9808',
    doc: 'Where `/healthz`, `/readyz`, `/status` and `/metrics` are served. Nothing there changes anything, but it is not meant for the internet.',
  }),
  CONTROL_SOCKET: setting({
    format: absolutePath,
    default: '/run/leasehold/control.sock',
    doc: 'The Unix socket through which `leasehold step-down` reaches the agent of its node. Only root, or the user that the agent runs as, may use it.',
  }),
  WHEN_ALL_UNHEALTHY: setting({
    format: oneOf('keep', 'release'),
    default: 'keep',
    doc: 'What an unhealthy holder does when no healthy node offers to take over: `keep` holding, or `release` the addresses.',
  }),
  ON_API_LOSS: setting({
    format: oneOf('hold', 'release'),
    default: null,
    defaultDoc: '`hold`; with `PROVIDER=l2` always `release`',
    doc:
      'What a holder does whose renewals fail because the Kubernetes API does not answer as it should: `hold` keeps the addresses bound until the ' +
      'provider says that it routes them elsewhere, or another agent is seen to hold the Lease; `release` takes them off after `PROVIDER_TIMEOUT`, and with `PROVIDER=l2` at once.',
  }),
  LOG_LEVEL: setting({ format: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal'), default: 'info', doc: 'How much is logged.' }),
  LOG_FORMAT: setting({ format: oneOf('json', 'pretty'), default: 'json', doc: '`json` for machines, `pretty` for people.' }),
} as const;

export type SettingName = keyof typeof SCHEMA;
