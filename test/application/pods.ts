/**
 * Pods for tests, in few words.
 */
import { decodePod } from '../../agent/kube/pod.ts';
import type { Pod } from '../../agent/kube/pod.ts';

interface Words {
  readonly node?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly isReady?: boolean;
  readonly isEnding?: boolean;
  readonly phase?: string;
  readonly besides?: readonly object[];
}

/** A pod as the API would give it, decoded. It is ready and running unless told otherwise. */
export function pod(name: string, words: Words = {}): Pod {
  const { node, namespace = 'default', labels = {}, isReady = true, isEnding = false, phase = 'Running', besides } = words;
  const json = {
    metadata: { namespace, name, uid: `uid-of-${name}`, labels, ...(isEnding ? { deletionTimestamp: '2026-11-21T08:00:00Z' } : {}) },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      ...(besides === undefined ? {} : { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: besides } } }),
    },
    status: { phase, conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] },
  };
  const decoded = decodePod(json);
  if (decoded === null) throw new Error('that is no pod');
  return decoded;
}
