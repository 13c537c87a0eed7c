/** What has to be true of a run that changed nothing in the end. */
import assert from 'node:assert/strict'
import { atConsole } from '../../lab/hosts/console.ts'
import { consentedRestore, failureOf, matches, schedulePaused } from './recoveries.ts'
import { controlPlaneFiles, everyHost, type OwnLab } from './use-lab.ts'

const LOCK = '/var/lib/requorum/lock'

/** The work leaves every byte of the control plane where it was, no lock and no staged file. */
export async function everyByteStays<Result>(own: OwnLab, work: () => Promise<Result>): Promise<Result> {
  const { lab } = own
  const files = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  const result = await work()
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), files)
  for (const { name } of lab.hosts.hosts) {
    assert.deepEqual(await matches(lab, name, `${LOCK} /var/lib/etcd-backups/staged-*`), [])
  }
  assert.equal(await schedulePaused(own), false, 'the schedule goes on')
  return result
}

/** A restore that is consented to and fails: every byte is back, and the run says why. */
export function undone(
  own: OwnLab,
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<{ code: string; message: string }> {
  return everyByteStays(own, async () => {
    await consentedRestore(own)
    await meanwhile()
    return failureOf(await own.operator.resultWithoutRetry())
  })
}

/** Deletes what an undo kept, which Requorum never does: the lab's disks are small. */
export async function makeRoom({ lab }: OwnLab): Promise<void> {
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'rm -rf /var/lib/etcd.undone.*'))
}
