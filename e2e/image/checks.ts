/**
 * What was looked at and how it went, said as it happens and counted at the end.
 */
export class Checks {
  passed = 0;
  failed = 0;

  /** Goes on counting where another process stopped. */
  static from(json: string): Checks {
    return Object.assign(new Checks(), JSON.parse(json) as { passed: number; failed: number });
  }

  /** Looks at one thing. An error is a failure, and what it says is shown. */
  async that(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
    let problem = '';
    const isWell = await Promise.resolve()
      .then(look)
      .catch((error: unknown) => {
        problem = error instanceof Error ? error.message : String(error);
        return false;
      });
    if (isWell) this.passed += 1;
    else this.failed += 1;
    console.log(`  ${isWell ? 'ok  ' : 'FAIL'}  ${what}`);
    if (problem !== '') console.log(`        ${problem.replaceAll('\n', '\n        ')}`);
  }

  /** Says the count in the last line, and returns an exit code. */
  report(): number {
    console.log(`${this.passed} passed, ${this.failed} failed, 0 skipped`);
    return this.failed === 0 ? 0 : 1;
  }
}

/** For a look that has found something: what it was. */
export function fail(why: string): never {
  throw new Error(why);
}
