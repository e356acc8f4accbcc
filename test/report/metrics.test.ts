import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Metrics } from '../../agent/report/metrics.ts';

const ADDRESS = '203.0.113.10';

function conflict(metrics: Metrics, rival: string): void {
  metrics.report({ kind: 'incident', event: 'conflict', message: 'x', address: ADDRESS, rival });
}

describe('the metrics', () => {
  test('count who else has claimed an address, from nothing on', async () => {
    const metrics = new Metrics([ADDRESS]);
    assert.match(await metrics.text(), /^leasehold_address_conflicts_total\{address="203\.0\.113\.10",mac=""\} 0$/m);
    conflict(metrics, '02:00:00:00:00:99');
    conflict(metrics, '02:00:00:00:00:99');
    assert.match(await metrics.text(), /^leasehold_address_conflicts_total\{address="203\.0\.113\.10",mac="02:00:00:00:00:99"\} 2$/m);
  });

  test('name only so many of them', async () => {
    const metrics = new Metrics([ADDRESS]);
    for (let rival = 0; rival < 50; rival += 1) conflict(metrics, `02:00:00:00:00:${rival}`);
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('leasehold_'));
    assert.equal(lines.length, 10);
    assert.match(lines.join('\n'), /mac="others"\} 42$/m);
  });

  test('do not count what else happens', async () => {
    const metrics = new Metrics([ADDRESS]);
    metrics.report({ kind: 'incident', event: 'bind-failed', message: 'x', address: ADDRESS });
    assert.match(await metrics.text(), /mac=""\} 0$/m);
  });
});
