/**
 * What the preflight says of everything that providers of Hetzner Cloud have in common: this server, and the token.
 *
 * Guarantees: it only reads, and an error is a finding like any other.
 */
import { asError } from '../clock.ts';
import { fail, ok } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { HcloudServerId } from './hcloud-server-id.ts';

/** Which server this is, and who has told. `id` is null where nobody could. */
export async function checkServer(
  serverId: HcloudServerId,
  signal: AbortSignal,
): Promise<{ readonly id: number | null; readonly finding: Finding }> {
  try {
    const id = await serverId.find(signal);
    return { id, finding: ok('server', `this is server ${id}, ${serverId.source}`) };
  } catch (error) {
    return { id: null, finding: fail('server', asError(error).message, 'set HCLOUD_SERVER_ID to the number of this server') };
  }
}

/** Whether the token may read what the provider needs. `seen` is null where it may not; `describe` says what was seen. */
export async function checkToken<Seen>(
  read: () => Promise<Seen>,
  describe: (seen: Seen) => string,
): Promise<{ readonly seen: Seen | null; readonly finding: Finding }> {
  try {
    const seen = await read();
    const unknowable = 'whether it may also write is first known at the first move';
    return { seen, finding: ok('token', `HCLOUD_TOKEN may read the project, which has ${describe(seen)}; ${unknowable}`) };
  } catch (error) {
    const advice = 'put a token of the right project, with read & write permission, into HCLOUD_TOKEN, and see that its API can be reached';
    return { seen: null, finding: fail('token', asError(error).message, advice) };
  }
}
