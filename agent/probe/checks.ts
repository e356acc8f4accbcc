/**
 * Each probe asked once, for the preflight. One answer is no verdict: rise and fall are the judge's matter.
 */
import { asError, withDeadline } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { ok, warn } from '../finding.ts';
import type { Check, Finding } from '../finding.ts';
import type { Ask, ProbeQuestion, ProbeSpec } from './probe.ts';
import { explain } from './prober.ts';

export function probeChecks(specs: readonly ProbeSpec[], ask: (question: ProbeQuestion) => Ask, clock: Clock): Check[] {
  if (specs.length === 0) {
    const none = warn(
      'probes',
      'no probe is configured, so this node always counts as healthy',
      'name in PROBES what has to answer for traffic to be of use here, such as http://127.0.0.1:10254/healthz',
    );
    return [{ name: 'probes', run: () => Promise.resolve([none]) }];
  }
  return specs.map((spec) => ({ name: `probe ${spec.name}`, run: async (signal) => [await askOnce(spec, ask, clock, signal)] }));
}

async function askOnce(
  { name, question, timeoutMs }: ProbeSpec,
  ask: (question: ProbeQuestion) => Ask,
  clock: Clock,
  signal: AbortSignal,
): Promise<Finding> {
  const startedAtMs = clock.nowMs();
  let isOver = false;
  try {
    await withDeadline(clock, timeoutMs, signal, (inner) => {
      inner.addEventListener('abort', () => (isOver = true), { once: true });
      return ask(question)(inner);
    });
    return ok(`probe ${name}`, `answers as it should, in ${Math.round(clock.nowMs() - startedAtMs)} ms`);
  } catch (error) {
    const why = isOver ? `no answer within ${timeoutMs} ms` : explain(asError(error));
    const advice = 'while it stays so this node counts as unhealthy and does not contend: see to that service, or change PROBES';
    return warn(`probe ${name}`, why, advice);
  }
}
