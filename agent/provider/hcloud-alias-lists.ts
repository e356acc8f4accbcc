/**
 * The lists of alias IPs of the servers in one private network, changed one address at a time.
 *
 * The API knows only the replacement of a whole list, and no condition to tie that to what was read. So:
 * - a list is read right before it is written, once nothing changes it any more, and all of it but the one address stays;
 * - one change at a time for each server, also where several addresses are claimed at once;
 * - while the provider carries a change out it accepts no other, so the list is read once more meanwhile. What stands there
 *   and was not known when it was written came in between and is about to be lost; what is missing there was taken away in
 *   between and is about to come back. Both are put right after the change, unless somebody else has the address by then.
 *
 * Not guaranteed: a change by another program that falls between the read and the write of a provider that carries ours
 * out at once does not show anywhere. Addresses of other agents come back when those verify them.
 */
import { at } from '../json.ts';
import { ProviderError } from './error.ts';
import { parseAction } from './hcloud-api.ts';
import type { HcloudApi, HcloudWriteTerms } from './hcloud-api.ts';
import { attachmentOf, capacityProblem, notThereAnyMore, readServer, serverText } from './hcloud-network.ts';
import type { HcloudPlace, HcloudServer } from './hcloud-network.ts';
import { Turns } from './turns.ts';

/** What changes the lists of a server. Others, such as a snapshot, may run for minutes and do not matter. */
const CHANGES = ['change_alias_ips', 'attach_to_network', 'detach_from_network'];

export class HcloudAliasLists {
  readonly #api: HcloudApi;
  readonly #turns = new Turns<number>();

  constructor(api: HcloudApi) {
    this.#api = api;
  }

  /** Gives an address to this server. Throws ProviderError, ClaimWithdrawn. */
  async give(address: string, place: HcloudPlace, terms: HcloudWriteTerms): Promise<void> {
    const { server } = place;
    await this.#turns.take(server.id, terms.signal, async () => {
      const aliases = await this.#readIdle(server.id, place, terms.signal);
      if (aliases === null) throw new ProviderError('invalid', notThereAnyMore(place));
      if (aliases.includes(address)) return;
      const problem = capacityProblem(aliases, [address], place);
      if (problem !== null) throw new ProviderError('invalid', problem);
      await this.#replace(server.id, [...aliases, address], address, place, terms);
    });
  }

  /** Takes an address away from another server. Throws ProviderError, ClaimWithdrawn. */
  async take(address: string, from: HcloudServer, place: HcloudPlace, terms: HcloudWriteTerms): Promise<void> {
    try {
      await this.#turns.take(from.id, terms.signal, async () => {
        const aliases = await this.#readIdle(from.id, place, terms.signal);
        if (aliases?.includes(address) !== true) return;
        const others = aliases.filter((each) => each !== address);
        await this.#replace(from.id, others, address, place, terms);
      });
    } catch (error) {
      if (!(error instanceof ProviderError) || error.code !== 'not-found') throw error;
      throw new ProviderError('busy', `${serverText(from)}, which had ${address}, is gone: looking again who has it`);
    }
  }

  /** Waits until nothing changes the lists of a server, and returns how many changes that were. */
  async settle(server: number, signal: AbortSignal): Promise<number> {
    const actions = await this.#api.list(`/servers/${server}/actions?status=running`, 'actions', parseAction, signal);
    const running = actions.filter(({ status, command }) => status === 'running' && CHANGES.includes(command));
    for (const action of running) await this.#api.waitFor(action, signal);
    return running.length;
  }

  /** A server as it is now. */
  async read(server: number, signal: AbortSignal): Promise<HcloudServer> {
    const found = readServer(at(await this.#api.get(`/servers/${server}`, signal), 'server'));
    if (found.id === server) return found;
    throw new ProviderError('unavailable', `GET /servers/${server}: the answer is another server`);
  }

  /** The list of a server that nothing changes; null where the server is not in the network. */
  async #readIdle(server: number, place: HcloudPlace, signal: AbortSignal): Promise<readonly string[] | null> {
    const [changes, aliases] = await Promise.all([this.settle(server, signal), this.#aliases(server, place, signal)]);
    return changes === 0 ? aliases : await this.#aliases(server, place, signal);
  }

  async #aliases(server: number, { network }: HcloudPlace, signal: AbortSignal): Promise<readonly string[] | null> {
    return attachmentOf(await this.read(server, signal), network)?.aliases ?? null;
  }

  async #replace(server: number, written: readonly string[], address: string, place: HcloudPlace, terms: HcloudWriteTerms): Promise<void> {
    const { network } = place;
    const { signal } = terms;
    const path = `/servers/${server}/actions/change_alias_ips`;
    const write = async (aliases: readonly string[]): Promise<readonly string[] | null> => {
      const action = await this.#api.begin(path, { network: network.id, alias_ips: aliases }, terms);
      // Once it has ended there is nothing to be seen of what it has met.
      const meanwhile = action.status === 'running' ? this.#aliases(server, place, signal).catch(unlessDefect) : null;
      const [met] = await Promise.all([meanwhile, this.#api.finish(action, signal)]);
      return met;
    };
    const met = await write(written).catch((error: unknown) => {
      throw isNotReleased(error) ? new ProviderError('busy', `the provider cannot give ${address} yet: ${error.message}`) : error;
    });
    if (met === null) return;
    const lost = met.filter((each) => each !== address && !written.includes(each));
    const revived = written.filter((each) => each !== address && !met.includes(each));
    if (lost.length + revived.length === 0) return;
    const now = (await this.#aliases(server, place, signal)) ?? [];
    const mended = [...new Set([...now.filter((each) => !revived.includes(each)), ...lost])];
    if (isSame(now, mended)) return;
    // Whoever has one of them by now needs no help of ours.
    await write(mended).catch(unlessDefect);
  }
}

/** Whether the provider says that an address is not free yet. Which code it uses for that is not documented. */
function isNotReleased(error: unknown): error is ProviderError {
  if (!(error instanceof ProviderError)) return false;
  return error.providerCode === 'ip_not_available' || (error.providerCode === 'invalid_input' && error.fields.includes('alias_ips'));
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((each) => other.includes(each));
}

/** For what may fail without consequence. */
function unlessDefect(error: unknown): null {
  if (error instanceof ProviderError) return null;
  throw error;
}
