import { createInterface } from 'node:readline';
import { IcvpnError } from '../../../src/errors.ts';
import { Firewall } from '../../../src/ipsec/firewall/firewall.ts';

// Holds a firewall in the namespace that it was started in. Takes its input as the first line of
// JSON, changes as further ones, `null` to close; says `open`, `applied`, `closed`, or an error's code,
// and `disturbed` when somebody else has changed the rules.

const say = (line: string) => process.stdout.write(`${line}\n`);
let firewall: Firewall | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  try {
    if (given === null) {
      await firewall?.close();
      say('closed');
    } else if (firewall === undefined) {
      firewall = await Firewall.open(given);
      firewall.on('disturbed', () => say('disturbed'));
      say('open');
    } else {
      await firewall.apply(given);
      say('applied');
    }
  } catch (error) {
    if (!(error instanceof IcvpnError)) throw error;
    say(error.code);
  }
}
