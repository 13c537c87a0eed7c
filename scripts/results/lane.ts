import { readLock } from '../../lab/parts/parts.mjs'
import type { Lane } from '../test/lanes.ts'
import { span, type FileCount } from '../test/report.ts'
import { markdownTable, recordResult } from './record.ts'

/** What of a whole lane was counted; more than its files' sums where a lane failed as such. */
export type LaneCount = Readonly<Record<'passed' | 'failed' | 'skipped' | 'ms', number>>

/** Keeps what came of a whole lane. @returns the page's path. */
export function recordLane(lane: Lane, files: readonly FileCount[], count: LaneCount): string {
  const kubeadm = lane.profile === 'kubeadm'
  const failures = files.flatMap(({ file, failures: its }) => its.map((one) => `- ${file}: ${one}`))
  return recordResult({
    name: `test-${lane.name}`,
    title: `Tests: ${lane.about}`,
    command: kubeadm ? 'npm run test:kubeadm -- --record' : `npm test -- ${lane.name} --record`,
    verdict: `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped in ${span(count.ms)}`,
    ...(kubeadm ? { beside: `Kubernetes ${readLock().kubernetes.version}` } : {}),
    body: [
      ...(failures.length === 0 ? [] : ['Failed:', '', ...failures, '']),
      markdownTable(
        ['file', 'passed', 'failed', 'skipped', 'took'],
        files.map(({ file, passed, failed, skipped, ms }) => [
          ...[file, String(passed), String(failed), String(skipped), span(ms)],
        ]),
      ),
    ].join('\n'),
  })
}
