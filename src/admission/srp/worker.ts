/** One worker thread of the pool: the server's half of SRP, away from the event loop. */
import { parentPort } from 'node:worker_threads';
import { SrpEngine, SrpValueError } from './engine.ts';
import { suiteById } from './group.ts';
import { dhModExp } from './modexp.ts';
import type { SrpJob, SrpResult } from './pool.ts';

const engines = new Map<number, SrpEngine>();

function engineOf(id: number): SrpEngine {
  const known = engines.get(id);
  if (known !== undefined) return known;
  const suite = suiteById(id);
  if (suite === undefined) throw new RangeError(`no SRP suite ${id}`);
  const engine = new SrpEngine(suite, dhModExp(suite.group));
  engines.set(id, engine);
  return engine;
}

function run(job: SrpJob): SrpResult {
  const engine = engineOf(job.suite);
  switch (job.task) {
    case 'start':
      return { task: 'start', B: engine.serverPublic(job.verifier, job.b) };
    case 'finish': {
      try {
        const session = engine.serverSession(job.login, job, job.A, job.M1);
        return { task: 'finish', session };
      } catch (error) {
        if (error instanceof SrpValueError) return { task: 'finish', session: undefined };
        throw error;
      }
    }
  }
}

const port = parentPort;
if (port === null) throw new Error('worker.ts runs in a worker thread only');
engineOf(1);
port.on('message', ({ id, job }: { id: number; job: SrpJob }) => {
  try {
    port.postMessage({ id, result: run(job) });
  } catch (error) {
    port.postMessage({ id, error });
  } finally {
    job.b.fill(0);
  }
});
