/**
 * A real browser without a window, for the tests and the pictures of the page.
 *
 * Guarantees: a profile of its own, which is gone when it is closed; nothing is downloaded, and it asks for nothing by itself.
 */
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';
import { needsNamespaces } from './namespace-test.ts';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Where a browser is installed, or null. */
export function findBrowser(): string | null {
  return PATHS.find((path) => existsSync(path)) ?? null;
}

/** Options for a test that needs a browser and a network of its own: it is skipped, with the reason, where one is missing. */
export function needsBrowser(): { readonly skip: string | false } {
  return findBrowser() === null ? { skip: `no browser: there is none of ${PATHS.join(', ')}` } : needsNamespaces();
}

/** Starts one. Close it when done. */
export async function openBrowser(): Promise<Browser> {
  const path = findBrowser();
  if (path === null) throw new Error(`no browser is installed: there is none of ${PATHS.join(', ')}`);
  return await chromium.launch({ executablePath: path, args: FLAGS });
}
