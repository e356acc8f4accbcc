/**
 * Where the bundle begins: an agent on the interfaces of this machine.
 */
import { release } from 'node:os';
import { AbstractSockets } from './link/abstract-socket.ts';
import { KernelLink } from './link/kernel-link.ts';
import { openDatagrams, RouteSocket } from './link/route-socket.ts';
import { runProcess } from './process.ts';

runProcess({
  openLink: ({ addresses, interfaceChoice }, onNotice) =>
    new KernelLink(new RouteSocket(openDatagrams()), { addresses, choice: interfaceChoice, kernelRelease: release(), onNotice }),
  processNames: new AbstractSockets(),
});
