import type { Command } from 'commander'
import { reasonOf } from '../../domain/failures.ts'
import { ageOfNewest, judgeStore } from '../../domain/freshness.ts'
import { humanBytes } from '../../domain/progress.ts'
import { lifecycleRules } from '../../domain/retention.ts'
import { lastRehearsals, type Attestation } from '../../domain/rehearsal.ts'
import type { ProvedSnapshot } from '../../domain/snapshot.ts'
import { loadCluster } from '../../workers/home.ts'
import { table } from '../terminal/table.ts'
import { age, utc, utcWithAge } from '../terminal/times.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import { readCatalogue } from './catalogue.ts'

export function registerSnapshots(program: Command, act: Act): void {
  const snapshots = program
    .command('snapshots')
    .description(
      'the snapshots in the store: those that are proved, newest first, and those that no restore takes',
    )
    .argument('<cluster>')
  act(examples(snapshots, ['requorum snapshots prod']), listSnapshots)

  const check = snapshots
    .command('check')
    .description(
      'whether the newest proved snapshot is young enough: one line and an exit code, from the store alone, for cron and monitors',
    )
    .argument('<cluster>')
  act(
    examples(check, ['requorum snapshots check prod', 'requorum snapshots check prod || page-somebody']),
    checkSnapshots,
  )

  const rules = snapshots
    .command('rules')
    .description(
      "the lifecycle rules that the bucket needs for the cluster file's retention, as JSON for `aws s3api put-bucket-lifecycle-configuration`",
    )
    .argument('<cluster>')
  act(examples(rules, ['requorum snapshots rules prod > rules.json']), showRules)
}

/** Made from the cluster file alone. Nothing is put on the bucket: who may do that is not who stores snapshots. */
async function showRules(call: Call): Promise<Outcome> {
  const config = await loadCluster(call.home, clusterOf(call))
  const rules = lifecycleRules(config)
  return { exit: 'done', text: JSON.stringify(rules, null, 2), json: rules }
}

/** Asks no engine and no node: a dead engine alarms nobody. */
async function checkSnapshots(call: Call): Promise<Outcome> {
  const config = await loadCluster(call.home, clusterOf(call))
  const { openFreshness } = await import('../../workers/wiring.ts')
  const seen = await openFreshness(call.home, config.cluster)
  const now = new Date()
  const findings = judgeStore(config, seen, now)
  const fresh = findings.length === 0
  const evidence = fresh
    ? seen.newest === null
      ? []
      : [ageOfNewest(seen.newest, config.freshness, now)]
    : findings.map((finding) => finding.evidence)
  return {
    exit: fresh ? 'done' : 'ill',
    text: `${fresh ? 'OK' : 'STALE'} ${config.cluster}: ${evidence.join('; ')}`,
    json: { cluster: config.cluster, fresh, ...seen, findings },
  }
}

async function listSnapshots(call: Call): Promise<Outcome> {
  const { cluster, store } = await loadCluster(call.home, clusterOf(call))
  const { proved, refused, lineages } = await readCatalogue(call.home, cluster)
  const { openAttestations, openMonthly } = await import('../../workers/wiring.ts')
  const monthly = await openMonthly(call.home, cluster)
  // What can be restored is worth saying also when nobody can say what was rehearsed.
  const [attestations, unread] = await openAttestations(call.home, cluster).then(
    (read) => [read, null] as const,
    (error: unknown) => [[], reasonOf(error)] as const,
  )
  const rehearsals = lastRehearsals(attestations)
  const now = new Date()
  const where = `s3://${store.bucket}/${store.prefix}`
  const text = [
    proved.length === 0
      ? `No proved snapshot of ${cluster} in ${where}. Make one with \`requorum backup now ${cluster} --wait\`.`
      : table(
          [
            'TAKEN',
            'AGE',
            { head: 'REVISION', right: true },
            { head: 'KEYS', right: true },
            { head: 'SIZE', right: true },
            'ETCD',
            'FROM',
            'REHEARSED',
            'KEY',
          ],
          proved.map((one) => [
            utc(one.takenAt),
            age(one.takenAt, now),
            one.revision,
            'keys' in one.inventory ? String(one.inventory.keys) : '?',
            one.packed === undefined
              ? humanBytes(one.sizeBytes)
              : `${humanBytes(one.sizeBytes)} (${humanBytes(one.packed.sizeBytes)})`,
            one.etcd.version,
            one.source.node,
            rehearsedText(rehearsals.get(one.key), now),
            one.key,
          ]),
        ).join('\n'),
    ...(monthly.length === 0
      ? []
      : [
          '',
          'Kept for their month (requorum restore --snapshot KEY takes them, too):',
          ...monthly.map((key) => `  ${key}`),
        ]),
    ...(unread === null ? [] : ['', `What was rehearsed could not be read: ${unread}`]),
    ...(refused.length === 0
      ? []
      : [
          '',
          'Not usable:',
          ...table(
            ['  KEY', 'WHY'],
            refused.map(({ key, reason }) => [`  ${key}`, reason]),
          ),
        ]),
    ...(lineages.length === 0
      ? []
      : [
          '',
          'Restored before:',
          ...lineages.map(
            (one) =>
              `  ${utcWithAge(one.openedAt, now)} ${one.restoredFrom === undefined ? `roll-back of ${one.rolledBack ?? 'a restore'}` : `from ${one.restoredFrom.key}`}, cluster ID ${one.previousClusterId} became ${one.clusterId}`,
          ),
        ]),
  ].join('\n')
  return {
    exit: 'done',
    text,
    json: {
      cluster,
      store: where,
      proved: proved.map((one) => ({ ...snapshotJson(one), rehearsed: rehearsals.get(one.key) ?? null })),
      refused,
      lineages,
      monthly,
    },
  }
}

function rehearsedText(last: Attestation | undefined, now: Date): string {
  if (last === undefined) return '-'
  return last.outcome === 'restored' ? age(last.rehearsedAt, now) : 'FAILED'
}

/** A snapshot as programs want it: what decides about it, without the manifest's inner lists. */
export function snapshotJson(snapshot: ProvedSnapshot) {
  const { key, versionId, takenAt, revision, totalKeys, sizeBytes, sha256, packed, etcd, source } = snapshot
  return {
    key,
    versionId,
    takenAt,
    revision,
    totalKeys,
    sizeBytes,
    sha256,
    packed: packed ?? null,
    etcdVersion: etcd.version,
    source: source.node,
  }
}
