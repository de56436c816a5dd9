import { join } from 'node:path';

/** Where the super-peer of a state directory writes down whom it admitted and refused. */
export const auditPath = (stateDir: string): string => join(stateDir, 'audit.log');
