/**
 * Random SRP runs against other programs, both ways; every key and both proofs must agree.
 *
 *   npm run test:interop            1,000 runs each way with each program, some minutes
 *   npm run test:interop -- 50      50
 */
import {
  fastSrpHap,
  oracleIsClient,
  oracleIsServer,
  randomLogin,
  secureRemotePassword,
} from '../../test/unit/admission/srp/oracles.ts';

const runs = Number(process.argv[2] ?? 1000);
for (const oracle of [secureRemotePassword, fastSrpHap]) {
  for (const [role, run] of [
    ['client', oracleIsClient],
    ['server', oracleIsServer],
  ] as const) {
    const begin = performance.now();
    for (let i = 0; i < runs; i++) run(oracle, randomLogin());
    const seconds = Math.round(performance.now() - begin) / 1000;
    console.log(
      JSON.stringify({ oracle: oracle.name, 'other end': role, runs, agreed: runs, seconds }),
    );
  }
}
