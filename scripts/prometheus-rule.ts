/**
 * The alerts as the Prometheus operator reads them, made of those that Prometheus reads.
 */

const HEADER = `# The alerts of Leasehold for the Prometheus operator, made by npm run docs from rules.yaml, where they are written.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: leasehold
  labels:
    app.kubernetes.io/name: leasehold
spec:
`;

/** Wraps a file of rules; the comments before its groups are about the file and stay behind. */
export function prometheusRule(rules: string): string {
  const groups = rules.slice(rules.indexOf('groups:\n'));
  return HEADER + groups.replace(/^(?=.)/gm, '  ');
}
