/**
 * How one probe of PROBES is written: a URL, with its own settings in the fragment.
 */
import type { ProbeQuestion } from '../probe/probe.ts';
import { duration, positiveInteger, splitList, withoutSecrets } from './formats.ts';
import type { Format } from './formats.ts';

/** One probe as written; what it leaves out comes from PROBE_INTERVAL and the like. */
export interface ProbeText {
  readonly name: string;
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly rise?: number;
  readonly fall?: number;
  /** Path of the CA bundle that is still to be read. */
  readonly caPath?: string;
  readonly question: ProbeQuestion;
}

const COMMON_KEYS = ['interval', 'timeout', 'rise', 'fall'];
const HTTP_KEYS = ['expect', 'host', 'ca', 'verify'];
const DEFAULT_EXPECT = '200-399';

/** The probes as written; the defaults of the other settings are put in later. */
export const probeList: Format<readonly ProbeText[]> = {
  accepts: 'http(s)://host:port/path or tcp://host:port, separated by commas, such as http://127.0.0.1:10254/healthz#interval=2s&fall=2',
  parse: (raw) => {
    const probes = splitList(raw).map(parseProbeText);
    const problems = probes.flatMap((probe) => ('problem' in probe ? [probe.problem] : []));
    if (problems.length > 0) return { problem: problems.join('; ') };
    if (probes.length === 0 && raw !== '') return null;
    return { value: probes.flatMap((probe) => ('problem' in probe ? [] : [probe])) };
  },
};

/** Reads one probe, or says what is wrong with it. */
export function parseProbeText(text: string): ProbeText | { readonly problem: string } {
  const name = withoutSecrets(text.replace(/#.*$/s, ''));
  const problem = (what: string): { readonly problem: string } => ({ problem: `${name}: ${what}` });
  if (!URL.canParse(text)) return problem('is not a URL');
  const url = new URL(text);
  const settings = new URLSearchParams(url.hash.slice(1));
  url.hash = '';
  if (url.username !== '' || url.password !== '') return problem('credentials in a probe would end up in logs');
  const isTcp = url.protocol === 'tcp:';
  if (!isTcp && url.protocol !== 'http:' && url.protocol !== 'https:') return problem(`${url.protocol.slice(0, -1)} is no kind of probe`);
  const known = isTcp ? COMMON_KEYS : [...COMMON_KEYS, ...HTTP_KEYS];
  const unknown = [...settings.keys()].filter((key) => !known.includes(key));
  if (unknown.length > 0) return problem(`${unknown.join(', ')} is no setting of such a probe, which has ${known.join(', ')}`);
  const common = parseCommon(settings);
  if ('problem' in common) return problem(common.problem);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isTcp) {
    if (host === '' || url.port === '') return problem('a tcp probe needs a host and a port');
    if (url.pathname !== '' || url.search !== '') return problem('a tcp probe has no path');
    return { name, ...common, question: { kind: 'tcp', host, port: Number(url.port) } };
  }
  const expect = parseExpect(settings.get('expect') ?? DEFAULT_EXPECT);
  if (expect === null) return problem(`expect=${settings.get('expect') ?? ''} is not like 200 or 200-299`);
  const verify = settings.get('verify');
  if (verify !== null && verify !== 'true' && verify !== 'false') return problem(`verify=${verify} is neither true nor false`);
  const caPath = settings.get('ca');
  return {
    name,
    ...common,
    ...(caPath === null ? {} : { caPath }),
    question: {
      kind: 'http',
      url,
      expect,
      host: settings.get('host'),
      ca: null,
      verifyTls: verify === null ? !isLoopback(host) || caPath !== null : verify === 'true',
    },
  };
}

function parseCommon(
  settings: URLSearchParams,
): Pick<ProbeText, 'intervalMs' | 'timeoutMs' | 'rise' | 'fall'> | { readonly problem: string } {
  const result: { intervalMs?: number; timeoutMs?: number; rise?: number; fall?: number } = {};
  for (const [key, field] of [
    ['interval', 'intervalMs'],
    ['timeout', 'timeoutMs'],
    ['rise', 'rise'],
    ['fall', 'fall'],
  ] as const) {
    const raw = settings.get(key);
    if (raw === null) continue;
    const format = field === 'rise' || field === 'fall' ? positiveInteger : duration;
    const parsed = format.parse(raw);
    if (parsed === null || 'problem' in parsed) return { problem: `${key}=${raw} is not ${format.accepts}` };
    result[field] = parsed.value;
  }
  return result;
}

/** `200`, `200-299`, or several joined by `+`. */
function parseExpect(text: string): (readonly [number, number])[] | null {
  // A + in a URL's parameters reads as a blank.
  const ranges = text.split(/[+ ]/).map((part) => /^(\d{3})(?:-(\d{3}))?$/.exec(part));
  const expect = ranges.flatMap((range) => (range === null ? [] : [[Number(range[1]), Number(range[2] ?? range[1])] as const]));
  return expect.length === ranges.length && expect.every(([from, to]) => from >= 100 && from <= to) ? expect : null;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
