/**
 * The table of metrics in the documentation, made from the registry itself.
 */
import { Metrics } from './metrics.ts';
import type { Clock } from '../clock.ts';

const NEVER: Clock = { nowMs: () => 0, wallMs: () => 0, setTimer: () => ({ cancel: () => undefined }) };

/** The table in Markdown, a row for each metric. */
export function metricsTable(): string {
  const rows = exampleMetrics()
    .definitions()
    .map(({ name, type, labels, help }) => {
      const shown = labels.length === 0 ? '–' : labels.map((label) => `\`${label}\``).join(', ');
      return `| \`${name}\` | ${type} | ${shown} | ${help.replaceAll('|', '\\|')} |`;
    });
  return ['| metric | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** The metrics of an agent that has everything that can be measured. */
function exampleMetrics(): Metrics {
  return new Metrics(
    {
      version: '',
      node: '',
      lease: { namespace: '', name: '' },
      timings: { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, renewIntervalMs: 500 },
      addresses: [],
      isRouted: true,
      provider: '',
      operations: {},
      probes: [],
    },
    NEVER,
  );
}
