/** A run of tests that does not end by itself has left something running: it says what, and fails. */

/** For what is closing to close, in milliseconds. */
const GRACE_MS = 30_000;

export const mochaHooks = {
  afterAll(): void {
    const late = (): never => {
      const what = [...new Set(process.getActiveResourcesInfo())].join(', ');
      console.error(`the tests are over and this still runs: ${what}`);
      // After mocha's own listener, which sets the code by the tests that failed.
      process.on('exit', () => {
        process.exitCode = 1;
      });
      process.exit();
    };
    setTimeout(late, GRACE_MS).unref();
  },
};
