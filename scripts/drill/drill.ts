import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LabProfile } from '../../lab/hosts/lab-hosts.ts'
import { labDown, type Lab } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import { etcdVersion, readLock, type EtcdLine } from '../../lab/parts/parts.mjs'
import { recordResult } from '../results/record.ts'
import { readyLab } from './ready-lab.ts'
import { replaceDrill } from './replace-drill.ts'
import { drillReport, type Drilled, type Wishes } from './report.ts'
import { restoreDrill } from './restore-drill.ts'
import { chapter, say } from './telling.ts'

export const DRILLS = ['restore', 'replace'] as const

export interface DrillOptions extends Wishes {
  readonly runbook: (typeof DRILLS)[number]
  readonly profile: LabProfile
  readonly etcd: EtcdLine
  readonly down: boolean
  readonly record: boolean
}

/** One runbook, whole and on real parts; the last line that it prints is the verdict. Returns the exit code. */
export async function runDrill(options: DrillOptions): Promise<number> {
  const started = Date.now()
  chapter('1. The lab comes up')
  const lab = await readyLab(options.profile, options.etcd)
  const operator = await Operator.of(lab)
  let verdict: Verdict
  try {
    console.log(`  Temporal UI: ${lab.engine.uiUrl}`)
    const drill = options.runbook === 'restore' ? restoreDrill : replaceDrill
    verdict = await tell(lab, await drill(lab, operator, options), options, started)
  } finally {
    await operator.close()
    if (options.down) await labDown({ name: lab.name, say })
  }
  if (!options.down)
    console.log(`The lab stays up: requorum status ${lab.name}, requorum lab down. UI: ${lab.engine.uiUrl}\n`)
  console.log(verdict.line)
  return verdict.passed ? 0 : 1
}

interface Verdict {
  readonly passed: boolean
  readonly line: string
}

async function tell(lab: Lab, drilled: Drilled, options: DrillOptions, started: number): Promise<Verdict> {
  const report = drillReport(lab.name, drilled)
  const file = await writeReport(lab, report)
  console.log(`\n${report}\nReport: ${file}`)
  const failed = drilled.findings.filter((finding) => !finding.holds)
  const took = `${Math.round((Date.now() - started) / 1_000)} s`
  const line =
    failed.length === 0
      ? `DRILL PASSED: ${drilled.sentence}, and every check is true (${took} in all)`
      : `DRILL FAILED: ${failed.map((finding) => finding.claim).join('; ')}`
  if (options.record) say(`recorded in ${recordDrill(options, drilled, report, line)}`)
  return { passed: failed.length === 0, line }
}

function recordDrill(
  { runbook, profile, etcd, killWorker }: DrillOptions,
  { title }: Drilled,
  report: string,
  verdict: string,
): string {
  // Its own title stands above it already.
  const [, ...body] = report.split('\n')
  return recordResult({
    name: [
      'drill',
      runbook,
      profile,
      ...(etcd === '3.5' ? [] : [etcd]),
      ...(killWorker ? ['worker-killed'] : []),
    ].join('-'),
    title: `${title}: profile ${profile}${killWorker ? ', the worker killed on the way' : ''}`,
    verdict,
    etcd: etcdVersion(etcd),
    command: ['npm run drill --', ...process.argv.slice(2)].join(' '),
    ...(profile === 'kubeadm' ? { beside: `Kubernetes ${readLock().kubernetes.version}` } : {}),
    body: body.join('\n'),
  })
}

async function writeReport(lab: Lab, report: string): Promise<string> {
  const directory = join(lab.dir, 'reports')
  await mkdir(directory, { recursive: true })
  const file = join(directory, `drill-${new Date().toISOString().replaceAll(/[:.]/g, '')}.md`)
  await writeFile(file, `${report}\n`)
  return file
}
