import { condition, defineSignal, setHandler, sleep } from '@temporalio/workflow'
import { ApplicationFailure } from '@temporalio/common'
import type { ReliefVerdict } from '../../domain/relief-verdict.ts'
import type { RestoreRequest, ValidationRequest } from '../../domain/messages.ts'
import type { Diagnosis } from '../../domain/diagnosis.ts'
import type { RestorePreview } from '../../domain/restore-preview.ts'
import { planDigest, revision, sha256 } from '../../domain/values.ts'
import type { MadeCheck, ValidationVerdict } from '../../domain/validation/verdict.ts'
import type { BackupVerdict, RestoreVerdict } from '../../domain/verdict.ts'
import { checkpoint, type Consent } from '../../workflows/steps/checkpoint.ts'
import { look } from '../../workflows/steps/hands.ts'
import { Run } from '../../workflows/steps/run.ts'
import { previewOnPaper } from './stand-in-plan.ts'

/** Runbooks that touch nothing: what the command shows of them is what is tested. */
const DIGEST = planDigest.parse('3fa9c1d2'.padEnd(64, '0'))

/** The real checkpoint, and nothing behind it. */
export async function restoreQuorum({ cluster, snapshot }: RestoreRequest): Promise<RestoreVerdict> {
  const run = new Run('restoreQuorum', cluster)
  return run.through(async () => {
    await run.step(
      'Survey nodes',
      async () => undefined,
      () => '3 reached',
    )
    if (cluster === 'fails') {
      throw ApplicationFailure.create({
        type: 'quorum-holds',
        message: 'fails has its quorum.\nWhy: all answer\nDo:  Leave it alone.',
        nonRetryable: true,
      })
    }
    const config = await look.loadCluster(cluster)
    const shows = `### What will happen\nAll of ${cluster} is restored from ${snapshot ?? 'the newest snapshot'}.`
    const consent = await checkpoint(run, config, 'destroy', DIGEST, shows)
    if (consent.outcome === 'approved') {
      await run.step('Stop etcd', () => sleep(2_500))
      await sleep(1_500)
    }
    return verdictOf(cluster, consent)
  })
}

function verdictOf(cluster: string, { outcome, by }: Consent): RestoreVerdict {
  return {
    outcome: outcome === 'approved' ? 'restored' : outcome,
    cluster,
    recovery: '20261122T021400Z-0a1b2c3d',
    candidate: {
      key: 'daily/snapshot-20261122T020000Z.db',
      revision: '4711',
      takenAt: '2026-11-22T02:00:00Z',
    },
    loss: { seconds: 840, revisions: '12' },
    skippedCandidates: [],
    steps: [{ title: 'Survey nodes', seconds: 1.2, outcome: 'done' }],
    checks: [{ name: 'members', verdict: 'pass', evidence: '3 of 3' }],
    approvals: [{ checkpoint: 'destroy', by, plan: DIGEST }],
    setAside: [],
    freshBackup: null,
    warnings: [],
  }
}

/** Makes room without asking; in the cluster that is called `fails` the content is too big. */
export async function relieve({ cluster }: { cluster: string }): Promise<ReliefVerdict> {
  await new Run('relieve', cluster).step('Defragment cp-02', async () => undefined)
  const full = cluster === 'fails'
  const member = { beforeBytes: 2_147_483_648, quotaBytes: 2_147_483_648 }
  const after = full ? 2_040_109_466 : 314_572_800
  return {
    runbook: 'relieve',
    outcome: full ? 'still-full' : 'freed',
    cluster,
    recovery: '20261122T021400Z-0a1b2c3d',
    members: ['cp-02', 'cp-01'].map((node) => ({
      node,
      ...member,
      afterBytes: after,
      gainedBytes: member.beforeBytes - after,
    })),
    copy: {
      node: 'cp-02',
      path: '/var/lib/etcd-backups/before-compaction-20261122T021400Z-0a1b2c3d.db',
      sha256: sha256.parse('d'.repeat(64)),
      sizeBytes: 2_147_483_680,
      revision: revision.parse('4711'),
    },
    disarmed: ['NOSPACE of member 91bc3c398fb3c146'],
    steps: [{ title: 'Defragment cp-02', seconds: 4.2, outcome: 'defragmented' }],
    checks: [
      { name: 'alarms', verdict: full ? 'fail' : 'pass', evidence: full ? 'NOSPACE on cp-02' : 'none' },
    ],
    approvals: [{ checkpoint: 'compact: approved', by: ['ana'], plan: DIGEST }],
    freshBackup: full ? null : 'daily/snapshot-20261122T022000Z.db',
    warnings: [],
  }
}

/** Ends when it is told to, so that a test can look at it while it runs. */
export async function backup({ cluster }: { cluster: string }): Promise<BackupVerdict> {
  if (cluster === 'fails') {
    throw ApplicationFailure.create({
      type: 'recovery-running',
      message: 'A recovery holds the nodes of fails.\nDo:  Wait for it.',
      nonRetryable: true,
    })
  }
  let told = false
  setHandler(defineSignal('finish'), () => void (told = true))
  await condition(() => told)
  return {
    outcome: 'proved',
    cluster,
    key: 'daily/snapshot-20261122T020000Z.db',
    versionId: 'v1',
    revision: '4711',
    sizeBytes: 4_194_304,
    totalKeys: 1_234,
    liveKeys: 1_200,
    source: 'cp-02',
    pruned: [],
    warnings: [],
  }
}

export async function planRestore({ cluster, snapshot }: RestoreRequest): Promise<RestorePreview> {
  return previewOnPaper(cluster, snapshot ?? 'daily/snapshot-20261122T020000Z.db')
}

/** Finds every cluster healthy but the one that is called `fails`, and repeats what it was asked. */
export async function validate(request: ValidationRequest): Promise<ValidationVerdict> {
  const { cluster, against = null, skip = [] } = request
  const unwell = cluster === 'fails'
  const made: Omit<MadeCheck, 'name' | 'verdict' | 'evidence'> = { seconds: 0.4, limitSeconds: 30 }
  return {
    outcome: unwell ? 'unhealthy' : 'healthy',
    cluster,
    against,
    checks: [
      unwell
        ? { ...made, name: 'nodes', verdict: 'fail', evidence: 'not Ready: cp-03' }
        : { ...made, name: 'nodes', verdict: 'pass', evidence: '3 nodes Ready' },
      ...skip.map((name): MadeCheck => ({
        ...made,
        name,
        verdict: 'skipped',
        evidence: 'the request says so',
      })),
    ],
  }
}

export async function diagnose({ cluster }: { cluster: string }): Promise<Diagnosis> {
  const healthy = cluster === 'prod'
  return {
    cluster,
    kind: healthy ? 'healthy' : 'replace-member',
    nodes: healthy ? [] : ['cp-02'],
    summary: healthy ? `${cluster} is healthy.` : 'etcd on cp-02 is broken.',
    evidence: [
      { node: 'cp-02', fact: healthy ? 'is healthy and leads' : 'its last words: wal: crc mismatch' },
    ],
    next: healthy
      ? []
      : [
          { on: 'cp-01', say: 'Remove the member.', commands: ['etcdctl member remove 91bc3c398fb3c146'] },
          { on: null, say: 'Then look again.', commands: [`requorum diagnose ${cluster}`] },
        ],
    findings: healthy ? [] : [{ node: null, fact: 'the clock of cp-03 is slow' }],
    looks: healthy ? 1 : 5,
  }
}
