import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from '../../lab/hosts/commands.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { readAll, type StoredKey, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Ended } from '../../lab/operator.ts'
import { partPath } from '../../lab/parts/parts.mjs'
import { backupScheduleId, recoveryWorkflowId, TASK_QUEUE, type AdoptRequest } from '../../domain/messages.ts'
import type { StepProgress, WaitingCheckpoint } from '../../domain/progress.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import { backupSchedule } from '../../scripts/commands/backup-schedule.ts'
import { loadCluster } from '../../workers/home.ts'
import { everyHost, type OwnLab } from './use-lab.ts'

const POLL_MS = 50

/** The `temporal` that a person would have, against the lab's engine. */
export async function temporal(lab: Lab, args: readonly string[]): Promise<string> {
  const { stdout } = await run(partPath('temporal'), [...args, '--address', lab.engine.address], {
    env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent' },
  })
  return stdout
}

/** Types a line that Requorum showed into a shell, as it stands. */
export async function typed(lab: Lab, line: string): Promise<string> {
  const { stdout } = await run('/bin/sh', ['-euc', line], {
    env: {
      PATH: `${dirname(partPath('temporal'))}:/usr/bin:/bin`,
      HOME: '/nonexistent',
      TEMPORAL_ADDRESS: lab.engine.address,
    },
  })
  return stdout
}

/** The schedule that `requorum schedule apply` makes. */
export async function makeSchedule({ lab, operator }: OwnLab): Promise<void> {
  await operator.client.schedule.create(backupSchedule(await loadCluster(lab.dir, lab.name)))
}

export async function schedulePaused({ lab, operator }: OwnLab): Promise<boolean> {
  return (await operator.client.schedule.getHandle(backupScheduleId(lab.name)).describe()).state.paused
}

/**
 * Waits until the recovery is at the step of this title, and says whether it was caught there: a machine
 * under load may see it only when it is over.
 */
export async function untilStep(
  { operator }: OwnLab,
  title: string,
  limitMs = 300_000,
): Promise<{ caught: boolean; step: StepProgress }> {
  const deadline = Date.now() + limitMs
  for (;;) {
    const progress = await operator.progress().catch(() => undefined)
    const step = progress?.steps.findLast((one) => one.title === title)
    if (step !== undefined) return { caught: step.state === 'running', step }
    const over = progress?.steps.some((one) => one.state === 'failed') === true
    if (over || Date.now() > deadline) {
      const steps = progress?.steps.map((one) => `${one.title}: ${one.state}, ${one.note ?? ''}`) ?? []
      throw new Error(`The recovery did not come to "${title}":\n${steps.join('\n')}`)
    }
    await sleep(POLL_MS)
  }
}

export function startAdoption(
  { lab, operator }: OwnLab,
  wishes: Partial<AdoptRequest> = {},
): Promise<unknown> {
  return operator.client.workflow.start('adopt', {
    taskQueue: TASK_QUEUE,
    workflowId: recoveryWorkflowId(lab.name),
    args: [{ cluster: lab.name, ...wishes }],
  })
}

/** Ends the run as an impatient hand does. Returns whose locks it leaves behind. */
export async function terminateRecovery({ lab, operator }: OwnLab): Promise<string> {
  const handle = operator.client.workflow.getHandle(recoveryWorkflowId(lab.name))
  const { runId } = await handle.describe()
  await handle.terminate('somebody pulled the plug')
  return `${recoveryWorkflowId(lab.name)}/${runId}`
}

/** Approves whatever the recovery that is under way still asks, and waits for its end. */
export async function approveToTheEnd({ operator }: OwnLab, limitMs = 300_000): Promise<RestoreVerdict> {
  const result = operator.result()
  let over = false
  void result.then(() => (over = true))
  const deadline = Date.now() + limitMs
  let approved = ''
  while (!over) {
    const progress = await operator.progress().catch(() => undefined)
    const waiting = progress?.waiting
    if (waiting !== undefined && waiting !== null && waiting.digest !== approved) {
      await operator.decide(waiting, 'approve')
      approved = waiting.digest
    }
    if (Date.now() > deadline) {
      throw new Error(
        `The recovery did not end within ${limitMs / 1_000} s; it is at "${progress?.steps.at(-1)?.title ?? 'nothing'}".`,
      )
    }
    await sleep(4 * POLL_MS)
  }
  return verdictOf(await result)
}

/** Starts a restore and consents to its plan, once it was read. */
export async function consentedRestore(
  { operator }: OwnLab,
  read: (waiting: WaitingCheckpoint) => void = () => undefined,
): Promise<void> {
  await operator.startRestore()
  const waiting = await operator.untilCheckpoint('destroy')
  if (waiting === undefined) throw new Error(`It ended before it asked: ${said(await operator.result())}`)
  read(waiting)
  await operator.decide(waiting, 'approve')
}

export function verdictOf(ended: Ended<RestoreVerdict>): RestoreVerdict {
  if ('verdict' in ended) return ended.verdict
  throw new Error(`The recovery failed with ${said(ended)}`)
}

export function failureOf(ended: Ended<unknown>): { code: string; message: string } {
  if ('code' in ended) return ended
  throw new Error(`The run was to fail, and ended with ${JSON.stringify(ended.verdict).slice(0, 500)}`)
}

function said(ended: Ended<unknown>): string {
  return 'code' in ended ? `${ended.code}: ${ended.message}` : JSON.stringify(ended.verdict).slice(0, 500)
}

/** What a runbook leaves on a host, whether etcd runs there or not: manifests, locks, journals, staged files. */
export async function traces(lab: Lab, host: string): Promise<string> {
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    `cd / && find etc/kubernetes -type f -exec sha256sum {} + | sort -k 2
     ls -d var/lib/etcd* | sort
     for kept in var/lib/requorum var/lib/etcd-backups; do
       [ ! -e "$kept" ] || find "$kept" -printf '%p %s %T@\\n' | sort
     done`,
  )
  return stdout
}

export async function fileText(lab: Lab, host: string, path: string): Promise<string> {
  return (await atConsole(lab.hosts, host, 'cat -- "$1"', [path])).stdout
}

/** Paths that a pattern of the shell matches on a host. */
export async function matches(lab: Lab, host: string, pattern: string): Promise<string[]> {
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    `for one in ${pattern}; do [ ! -e "$one" ] || echo "$one"; done`,
  )
  return stdout.split('\n').filter(Boolean)
}

/** Steps of a recovery on a host, by name, with how often each was started there. */
export async function attempts(lab: Lab, host: string, recovery: string): Promise<Record<string, number>> {
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    `cd /var/lib/requorum/steps && for step in "$1".*; do
       set -- "$step"/*.started
       echo "\${step##*.} $#"
     done`,
    [recovery.toLowerCase()],
  )
  return Object.fromEntries(
    stdout
      .split('\n')
      .filter(Boolean)
      .map((line): [string, number] => {
        const [name = '', count = '0'] = line.split(' ')
        return [name, Number(count)]
      }),
  )
}

export async function etcdctl(lab: Lab, host: string, ...args: readonly string[]): Promise<string> {
  const pki = '/etc/kubernetes/pki/etcd'
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    `etcdctl --cacert=${pki}/ca.crt --cert=${pki}/healthcheck-client.crt --key=${pki}/healthcheck-client.key "$@"`,
    args,
  )
  return stdout
}

/**
 * Puts a script before `etcdutl snapshot restore` on a host; every other use of etcdutl is as it was. The
 * script can wait, or end with a failure. Returns how to take it away again.
 */
export async function beforeRestore(lab: Lab, host: string, script: string): Promise<() => Promise<void>> {
  const real = '/usr/local/bin/etcdutl.real'
  const wrapper = `#!/bin/sh
if [ "$1 $2" = 'snapshot restore' ]; then
${script}
fi
exec ${real} "$@"
`
  await atConsole(
    lab.hosts,
    host,
    `[ -e ${real} ] || cp -p /usr/local/bin/etcdutl ${real}
     cat >/usr/local/bin/etcdutl.new
     chmod 755 /usr/local/bin/etcdutl.new
     mv -T /usr/local/bin/etcdutl.new /usr/local/bin/etcdutl`,
    [],
    { input: wrapper },
  )
  return async () => {
    // A script that still waits goes on with the real one where it was.
    await atConsole(
      lab.hosts,
      host,
      `cp -p ${real} /usr/local/bin/etcdutl.new
       mv -T /usr/local/bin/etcdutl.new /usr/local/bin/etcdutl`,
    )
  }
}

/** Holds the restore on every host in its middle until it is released; or for five minutes, when nobody does. */
export async function holdRestore(lab: Lab): Promise<() => Promise<void>> {
  const gate = '/run/lab-restore-goes-on'
  const undo = await beforeRestoreEverywhere(
    lab,
    `for again in $(seq 3000); do [ ! -e ${gate} ] || break; sleep 0.1; done`,
  )
  return async () => {
    await everyHost(lab, (host) => atConsole(lab.hosts, host, `touch ${gate}`))
    await undo()
  }
}

/** The same on every host. */
export async function beforeRestoreEverywhere(lab: Lab, script: string): Promise<() => Promise<void>> {
  const undo = await everyHost(lab, (host) => beforeRestore(lab, host, script))
  return async () => {
    await Promise.all(undo.map((one) => one()))
  }
}

/** Keys that are in only one of two keyspaces or differ in value, version, lease or revisions; none is "equal". */
export function differences(one: WholeKeyspace, other: WholeKeyspace): string[] {
  const text = (keys: readonly StoredKey[]): Map<string, string> =>
    new Map(keys.map((key) => [key.key, JSON.stringify(key)]))
  const [before, after] = [text(one.keys), text(other.keys)]
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key))
    .map((key) => {
      const name = Buffer.from(key, 'base64').toString('utf8')
      const [was, is] = [before.get(key), after.get(key)]
      if (was === undefined) return `${name} is new`
      return is === undefined ? `${name} is gone` : `${name} differs`
    })
}

/** Reads everything as soon as etcd takes a linearizable read. */
export async function readAllWhenUp(lab: Lab, limitMs = 180_000): Promise<WholeKeyspace> {
  const deadline = Date.now() + limitMs
  for (;;) {
    try {
      return await readAll(lab.hosts)
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(300)
    }
  }
}

/** What of a verdict is the same for every restore that went well, whatever happened on the way. */
export function shapeOf(verdict: RestoreVerdict): unknown {
  return {
    outcome: verdict.outcome,
    steps: verdict.steps.map(({ title }) => title.replace(/snapshot-\S+\.db/, 'SNAPSHOT')),
    checks: verdict.checks.map(({ name, verdict: judged }) => `${name}: ${judged}`),
    approvals: verdict.approvals.map(({ checkpoint, by }) => `${checkpoint} by ${by.join(', ')}`),
    setAside: verdict.setAside.map(({ node, path }) => `${node}: ${path.replace(/\d{8}T\d{6}Z$/, 'TIME')}`),
    skipped: verdict.skippedCandidates,
    freshBackup: verdict.freshBackup !== null,
    warnings: verdict.warnings,
  }
}

export function timesOf(verdict: RestoreVerdict): string {
  return verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; ')
}

export function engineDir(lab: Lab): string {
  return join(lab.dir, 'engine')
}

/**
 * Does by hand what a section of the journal says: the commands of each numbered step as they stand, with
 * `sh -e`, on all hosts, before the next step begins.
 */
export async function byHand(lab: Lab, recovery: string, section: string): Promise<void> {
  const blocks = await everyHost(lab, async (host) => {
    const journal = await fileText(lab, host, `/var/lib/requorum/recoveries/${recovery}/journal.md`)
    const commands = journal.split(`## ${section}`)[1]?.split('```')[1]?.replace(/^sh\n/, '')
    if (commands === undefined) throw new Error(`The journal of ${host} has no section "${section}".`)
    return { host, steps: commands.split(/^(?=# \d+\. )/m).filter((step) => step.trim() !== '') }
  })
  const count = Math.max(...blocks.map(({ steps }) => steps.length))
  for (let index = 0; index < count; index += 1) {
    await Promise.all(
      blocks.map(({ host, steps }) =>
        atConsole(lab.hosts, host, 'cat >/root/step.sh && exec sh -e /root/step.sh', [], {
          input: steps[index] ?? '',
        }),
      ),
    )
  }
}
