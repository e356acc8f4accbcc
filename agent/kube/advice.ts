/**
 * What a person can do about a refusal of the Kubernetes API.
 *
 * Guarantees: a sentence to be put after the refusal itself, or nothing where nothing is known. It holds no credential.
 */

/** `grant`: what to do where the right is missing (403), such as `grant the verb "get" on it`. */
export function adviceOn(status: number, grant: string): string {
  if (status === 401) return '; the credentials are not accepted: check the service account or the kubeconfig';
  return status === 403 ? `; ${grant}` : '';
}
