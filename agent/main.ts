/**
 * Where the bundle begins: an agent on the interfaces of this machine.
 */
import { release } from 'node:os';
import { AbstractSockets } from './link/abstract-socket.ts';
import { openLink } from './link/open-link.ts';
import { runProcess } from './process.ts';
import { kindOf } from './provider/profiles.ts';

runProcess({
  openLink: ({ addresses, interfaceChoice, provider, lease }, clock, onNotice) =>
    openLink({
      kind: kindOf(provider.name),
      addresses,
      choice: interfaceChoice,
      lease,
      kernelRelease: release(),
      clock,
      onNotice,
    }),
  processNames: new AbstractSockets(),
});
