import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { prospectOf } from '../../agent/application/prospect.ts';
import type { Surroundings } from '../../agent/application/prospect.ts';
import { pod } from './pods.ts';

const WEB = { app: 'web' };
const besideWeb = (more: object = {}): object[] => [
  { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: WEB }, namespaces: ['shop'], ...more },
];
const web = (name: string, node: string, isReady = true): ReturnType<typeof pod> =>
  pod(name, { namespace: 'shop', labels: WEB, node, isReady });
const agent = (name: string, node?: string, besides: readonly object[] = besideWeb()): ReturnType<typeof pod> =>
  pod(name, { ...(node === undefined ? {} : { node }), namespace: 'leasehold', besides });

/** As agent-1 on node-a sees it. */
function from(surroundings: Partial<Surroundings>): ReturnType<typeof prospectOf> {
  const own = { name: 'agent-1', uid: 'uid-of-agent-1' };
  return prospectOf({ node: 'node-a', own, agents: [agent('agent-1', 'node-a')], application: [], holder: null, ...surroundings });
}

describe('an eviction', () => {
  test('leads to something better where the application is ready on a node without an agent', () => {
    assert.deepEqual(from({ application: [web('web-1', 'node-b')] }), { is: 'better', nodes: ['node-b'] });
  });

  test('leads to nothing better where every such node has an agent already, be it one that is only starting', () => {
    const agents = [agent('agent-1', 'node-a'), pod('agent-2', { node: 'node-b', namespace: 'leasehold', isReady: false })];
    const prospect = from({ agents, application: [web('web-1', 'node-b')] });
    assert.deepEqual(prospect, { is: 'no-better', reason: 'every node on which the application is ready has an agent' });
  });

  test('leads to nothing better where the application is not ready anywhere', () => {
    assert.equal(from({ application: [web('web-1', 'node-b', false)] }).is, 'no-better');
    assert.equal(from({ application: [] }).is, 'no-better');
  });

  test('leads to nothing better where a pod of the application is here, though it is not ready: the next one might be placed here again', () => {
    assert.equal(from({ application: [web('web-1', 'node-b'), web('web-2', 'node-a', false)] }).is, 'no-better');
  });

  test('would do harm where the pod may be placed anywhere else: it is refused, with what to write', () => {
    for (const besides of [
      [],
      besideWeb({ namespaces: [] }),
      besideWeb({ namespaces: ['other'] }),
      besideWeb({ labelSelector: { matchLabels: { app: 'other' } } }),
      besideWeb({ labelSelector: undefined }),
      besideWeb({ topologyKey: 'topology.kubernetes.io/zone' }),
      besideWeb({ namespaces: [], namespaceSelector: { matchLabels: { team: 'shop' } } }),
      [...besideWeb(), ...besideWeb({ labelSelector: { matchLabels: { app: 'other' } } })],
    ]) {
      const prospect = from({ agents: [agent('agent-1', 'node-a', besides)], application: [web('web-1', 'node-b')] });
      assert.ok(prospect.is === 'wrong', JSON.stringify(besides));
      assert.match(prospect.reason, /podAffinity of agent-1 does not select .*the labels and the namespace of shop\/web-1 into it/);
    }
  });

  test('is possible with whatever else selects the application', () => {
    for (const more of [
      { namespaces: [], namespaceSelector: {} },
      { labelSelector: {} },
      { labelSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'shop'] }] } },
      {
        labelSelector: {
          matchExpressions: [
            { key: 'app', operator: 'Exists' },
            { key: 'beta', operator: 'DoesNotExist' },
          ],
        },
      },
      { labelSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['other'] }] } },
    ]) {
      const agents = [agent('agent-1', 'node-a', besideWeb(more))];
      assert.equal(from({ agents, application: [web('web-1', 'node-b')] }).is, 'better', JSON.stringify(more));
    }
  });

  test('is nothing to ask for once the pod is ending, or where it is not to be found', () => {
    const ending = pod('agent-1', { node: 'node-a', namespace: 'leasehold', besides: besideWeb(), isEnding: true });
    assert.equal(from({ agents: [ending], application: [web('web-1', 'node-b')] }).is, 'ending');
    const prospect = from({ agents: [agent('agent-7', 'node-a')], application: [web('web-1', 'node-b')] });
    assert.ok(prospect.is === 'wrong');
    assert.match(prospect.reason, /no agent's pod agent-1 has the uid uid-of-agent-1: check POD_NAME, POD_UID/);
  });

  test('is for as many agents as there are such nodes, and for the holder last', () => {
    const agents = [agent('agent-1', 'node-a'), agent('agent-2', 'node-b'), agent('agent-3', 'node-c')];
    const one = [web('web-1', 'node-d')];
    const two = [...one, web('web-2', 'node-e')];
    assert.equal(from({ agents, application: one }).is, 'better', 'by name, where none of them holds the Lease');
    assert.equal(from({ agents, application: one, holder: 'node-b' }).is, 'better');
    assert.deepEqual(from({ agents, application: one, holder: 'node-a' }), {
      is: 'not-first',
      nodes: ['node-d'],
      reason: 'the agent on node-b goes first',
    });
    assert.equal(from({ agents, application: two, holder: 'node-a' }).is, 'not-first');
    assert.equal(from({ agents: agents.slice(0, 2), application: two, holder: 'node-a' }).is, 'better');
  });

  test('does not wait for agents that are beside the application, ending, or not placed', () => {
    const ending = pod('agent-3', { node: 'node-c', namespace: 'leasehold', isEnding: true });
    const agents = [agent('agent-1', 'node-a'), agent('agent-0', 'node-b'), ending, agent('agent-00')];
    const application = [web('web-1', 'node-d'), web('web-2', 'node-b', false)];
    assert.equal(from({ agents, application, holder: 'node-a' }).is, 'better');
  });
});
