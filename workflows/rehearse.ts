import { RequorumError } from '../domain/failures.ts'
import type { RehearseRequest } from '../domain/messages.ts'
import { attestationOf, judgeRehearsal, type RehearsalVerdict } from '../domain/rehearsal.ts'
import type { ProvedSnapshot } from '../domain/snapshot.ts'
import { check, failedChecks } from '../domain/verdict.ts'
import { look, transfer } from './steps/hands.ts'
import { clusterOf, namedSnapshotOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'

/**
 * Restores the newest snapshot for real, on the worker's host and not on a control plane's, has an etcd serve it, holds
 * every key against the manifest, and writes down what came of it. Nobody has to ask whether anyone ever restored one.
 */
export async function rehearse(request: RehearseRequest): Promise<RehearsalVerdict> {
  const run = new Run('rehearse', clusterOf(request))
  return run.through(async () => {
    const config = await run.step('Read the cluster file', () => look.loadCluster(run.cluster))
    const named = namedSnapshotOf(request)
    const { proved } = await run.step(
      'Read the snapshot catalogue',
      () => transfer.readCatalogue(config.cluster, named),
      (catalogue) => `${catalogue.proved.length} proved`,
    )
    const snapshot = chosen(run.cluster, proved, named)
    const seen = await run.step(
      `Restore and serve ${snapshot.key}`,
      () => transfer.rehearseSnapshot(config.cluster, snapshot),
      (facts) =>
        'failed' in facts
          ? facts.failed
          : `restored after ${facts.seconds.restored} s, served after ${facts.seconds.served} s by etcd ${facts.etcdVersion}`,
    )
    const checks = 'failed' in seen ? [check('restore', false, seen.failed)] : judgeRehearsal(snapshot, seen)
    run.showChecks(checks)
    const facts = 'failed' in seen ? { etcdVersion: 'none', seconds: { restored: 0, served: 0 } } : seen
    const attestation = attestationOf(snapshot, checks, facts, utcNow())
    const at = await run.step(
      'Write it down beside the manifest',
      () => transfer.attest(attestation),
      (key) => `${attestation.outcome}: ${key}`,
    )
    const failed = failedChecks(checks)
    if (failed.length > 0) {
      throw new RequorumError('rehearsal-failed', {
        what: `${snapshot.key} could not be restored as its manifest promises.`,
        why: failed.map(({ name, evidence }) => `${name}: ${evidence}`).join('; '),
        todo: `Take another backup today and rehearse it: requorum backup now ${config.cluster} --wait; requorum rehearse ${config.cluster}. Keep this one for study.`,
      })
    }
    return { outcome: 'restored', cluster: config.cluster, attestation, at, steps: run.timings() }
  })
}

function chosen(
  cluster: string,
  proved: readonly ProvedSnapshot[],
  named: string | undefined,
): ProvedSnapshot {
  const snapshot = named === undefined ? proved[0] : proved.find(({ key }) => key === named)
  if (snapshot !== undefined) return snapshot
  throw new RequorumError('no-candidate', {
    what:
      named === undefined
        ? `There is no proved snapshot of ${cluster} to rehearse.`
        : `${named} is no proved snapshot of ${cluster}.`,
    todo: `See what there is: requorum snapshots ${cluster}`,
  })
}
