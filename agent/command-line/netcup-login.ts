/**
 * The command `netcup-login`: tells a person where to log in, waits, and writes what an agent needs to standard output.
 *
 * Guarantees: the refresh token goes to standard output and nowhere else; everything that is said goes to standard error, so that
 * the output can be piped on.
 */
import { EXIT } from './exit-codes.ts';
import type { Wanted } from './parse.ts';
import { plain, span } from './text.ts';

/** What a person has to do. */
export interface LoginTask {
  readonly url: string;
  readonly completeUrl: string | null;
  readonly userCode: string;
  readonly lifetimeMs: number;
}

/** How it ended. */
export type LoginEnd =
  | {
      readonly is: 'granted';
      readonly tokens: { readonly refresh: string; readonly refreshLifetimeMs: number | null; readonly userId: number };
    }
  | { readonly is: 'expired' | 'denied' }
  | { readonly is: 'failed'; readonly message: string };

export interface NetcupLoginOptions {
  readonly write: (text: string) => void;
  readonly complain: (text: string) => void;
  /** Logs in, and tells what has to be done for that. */
  readonly logIn: (onBegun: (task: LoginTask) => void) => Promise<LoginEnd>;
}

/** The Secret that the manifests' component netcup mounts. */
export const SECRET_NAME = 'netcup-token';

/** Returns the exit code. */
export async function runNetcupLogin({ output, namespace }: Wanted & { is: 'netcup-login' }, options: NetcupLoginOptions): Promise<number> {
  const { write, complain, logIn } = options;
  const end = await logIn(({ url, completeUrl, userCode, lifetimeMs }) => {
    complain('Open this page in a browser, log in to the Server Control Panel of netcup, and allow the access:\n\n');
    complain(`    ${plain(completeUrl ?? url)}\n\n`);
    complain(`The code is ${plain(userCode)}. It is good for ${span(lifetimeMs)}; Ctrl-C ends the waiting.\n`);
  });
  switch (end.is) {
    case 'granted': {
      const { refresh, refreshLifetimeMs, userId } = end.tokens;
      const what = output === 'token' ? 'the refresh token' : `the Secret ${SECRET_NAME} for the namespace ${namespace}`;
      complain(`Logged in as the user ${userId}. On standard output is ${what}: whoever has it can use your account.\n`);
      if (refreshLifetimeMs !== null)
        complain(
          `netcup has given a token that ends by itself after ${span(refreshLifetimeMs)}: it is not what an agent needs for long.\n`,
        );
      write(output === 'token' ? `${refresh}\n` : secretManifest(refresh, namespace));
      return EXIT.done;
    }
    case 'expired':
      complain('leasehold netcup-login: nobody has logged in while the code was good; begin again.\n');
      return EXIT.no;
    case 'denied':
      complain('leasehold netcup-login: the access was not allowed.\n');
      return EXIT.no;
    case 'failed':
      complain(`leasehold netcup-login: ${plain(end.message)}\n`);
      return EXIT.unavailable;
  }
}

/** The Secret as `kubectl apply -f -` takes it. */
export function secretManifest(token: string, namespace: string): string {
  return [
    'apiVersion: v1',
    'kind: Secret',
    'metadata:',
    `  name: ${SECRET_NAME}`,
    `  namespace: ${namespace}`,
    '  labels:',
    '    app.kubernetes.io/name: leasehold',
    '    app.kubernetes.io/part-of: leasehold',
    'stringData:',
    `  token: ${JSON.stringify(token)}`,
    '',
  ].join('\n');
}
