import assert from 'node:assert/strict';
import {
  fastSrpHap,
  type Login,
  type Oracle,
  oracleIsClient,
  oracleIsServer,
  randomLogin,
  secureRemotePassword,
} from './oracles.ts';

// Each run costs 0.1 s, nearly all of it in the other program. `npm run test:interop` does 1,000.
const RUNS = 10;

function times(count: number, oracle: Oracle, run: (oracle: Oracle, login: Login) => void): void {
  for (let i = 0; i < count; i++) {
    const login = randomLogin();
    try {
      run(oracle, login);
    } catch (cause) {
      const { identity, password, salt } = login;
      const replay = `${identity} ${password} ${Buffer.from(salt).toString('hex')}`;
      throw new Error(`run ${i} with ${oracle.name}, login ${replay}`, { cause });
    }
  }
}

describe('SRP engine with other programs', () => {
  for (const oracle of [secureRemotePassword, fastSrpHap]) {
    it(`serves clients of ${oracle.name}`, () => times(RUNS, oracle, oracleIsClient));
    it(`is a client of servers of ${oracle.name}`, () => times(RUNS, oracle, oracleIsServer));
  }

  it('tells the two multipliers apart: a client of the other kind is refused', () => {
    const login = randomLogin();
    const mixed = { ...fastSrpHap, engine: secureRemotePassword.engine };
    assert.throws(() => oracleIsClient(mixed, login));
  });
});
