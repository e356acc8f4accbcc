/**
 * What has happened to an agent that is worth a Kubernetes Event: the words between what reports it and what writes it.
 */

/** Something that happened once. */
export interface Happening {
  /** What happened, in UpperCamelCase as Kubernetes writes reasons. People filter by it, so a name that was given stays. */
  readonly reason: string;
  /** What was being done, in UpperCamelCase. */
  readonly action: string;
  readonly type: 'Normal' | 'Warning';
  /** One sentence for people, which names the node. */
  readonly note: string;
  /** What concerns only whether this agent could hold is told of its pod; everything else of the Lease, too. */
  readonly about: 'lease-and-pod' | 'pod';
}
