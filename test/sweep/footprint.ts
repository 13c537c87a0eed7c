import { atConsole } from '../../lab/hosts/console.ts'
import type { Lab } from '../../lab/lab.ts'
import { BucketAdmin } from '../lab/bucket-admin.ts'
import { etcdctl, readAllWhenUp, schedulePaused } from '../lab/recoveries.ts'
import { everyHost, type OwnLab } from '../lab/use-lab.ts'

const SUMS = 'find etc/kubernetes -type f -exec sha256sum {} + | sort -k 2'
const SUM_LINE = /^\S+ [0-9a-f]{64} {2}(\S+)$/

/** What a runbook left, line by line: two runs that ended alike have the same lines. */
export type Footprint = readonly string[]

/** SHA-256 of each file of a control plane, as `HOST SUM PATH`. */
export type Files = ReadonlySet<string>

/** What stands below /etc/kubernetes on every host, to be compared with later. */
export async function filesOf({ lab }: OwnLab): Promise<Files> {
  const all = await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(lab.hosts, host, `cd / && ${SUMS}`)
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => `${host} ${line}`)
  })
  return new Set(all.flat())
}

/**
 * Everything that has to be the same, whatever happened on the way. Two labs have other addresses and certificates:
 * of files it says whether they are what they were before, and of manifests what is in them.
 */
export async function footprint(
  own: OwnLab,
  before: Files,
  outcome: string,
  hasQuorum: boolean,
): Promise<Footprint> {
  const { lab } = own
  const [hosts, store, paused, alive] = await Promise.all([
    everyHost(lab, (host) => onHost(lab, host, before)),
    inStore(lab),
    schedulePaused(own),
    hasQuorum ? keyspaceAndMembers(lab) : Promise.resolve([]),
  ])
  return [
    `outcome: ${outcome}`,
    `schedule: ${paused ? 'paused' : 'goes on'}`,
    ...[...store, ...alive, ...sharedOut(hosts.flat())].map((line) => withoutNames(lab, line)),
  ]
}

/** What is only in one of two footprints, as `- gone` and `+ new`. */
export function difference(golden: Footprint, other: Footprint): string[] {
  const count = (lines: Footprint, line: string): number => lines.filter((one) => one === line).length
  const lines = [...new Set([...golden, ...other])]
  return lines.flatMap((line) => {
    const [was, is] = [count(golden, line), count(other, line)]
    if (was === is) return []
    return [`${was > is ? '-' : '+'} ${line}`]
  })
}

async function keyspaceAndMembers(lab: Lab): Promise<string[]> {
  const { keys } = await readAllWhenUp(lab)
  const members = await etcdctl(lab, lab.hosts.hosts[0]?.name ?? '', 'member', 'list')
  return [
    ...members
      .trim()
      .split('\n')
      .map((line) => line.split(', '))
      .map(([, state, name, peers, , learner]) => `member: ${name} ${peers} ${state} learner=${learner}`),
    ...keys
      .map(({ key, value }) => ({ name: Buffer.from(key, 'base64').toString('utf8'), value }))
      .filter(({ name }) => !name.startsWith('requorum/'))
      .map(({ name, value }) => `key: ${name} ${value}`),
  ]
}

async function inStore(lab: Lab): Promise<string[]> {
  const bucket = await BucketAdmin.of(lab)
  const versions = await bucket.versions('')
  return versions.map(({ key, marker, latest }) =>
    normal(`store: ${key}${marker ? ' deleted' : ''}${latest ? '' : ' old version'}`),
  )
}

/**
 * Files with owner, mode and SHA-256; of etcd's data the names of the directories, because the keyspace says what is in
 * it. Of steps that ran, that they ran and how the newest attempt ended.
 */
async function onHost(lab: Lab, host: string, before: Files): Promise<string[]> {
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    `cd /
     for dir in var/lib/etcd*; do [ ! -d "$dir" ] || stat -c 'dir: %n %U:%G %a' "$dir"; done
     find var/lib/etcd-backups -type f -printf 'backup file: %f %u:%g %m\\n' 2>/dev/null || true
     find etc/kubernetes -printf '%p %y %u:%g %m\\n' | sort | sed 's/^/file: /'
     ${SUMS}
     for manifest in etc/kubernetes/manifests/*; do sed "s|^|manifest: \${manifest##*/}: |" "$manifest"; done
     [ -d var/lib/requorum ] || exit 0
     find var/lib/requorum -not -path '*/steps/*' -printf 'state: %p %y %u:%g %m\\n' | sort
     find var/lib/requorum/steps -mindepth 1 -maxdepth 1 -printf '%p\\n' 2>/dev/null | sort | while read -r step; do
       newest=$(ls "$step" | grep -c 'started$' || true)
       printf 'step: %s %s\\n' "$step" "$(grep '^code=' "$step/$newest.receipt" 2>/dev/null || echo 'no receipt')"
     done
     find var/lib/requorum/recoveries -type f \\( -name journal.md -o -name opened -o -name removed -o -name undoing -o -name ended -o -name '*.yaml' \\) |
       sort | while read -r text; do sed "s|^|text: \${text##*/}: |" "$text"; done`,
  )
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => `${host} ${line}`)
    .map((line) => {
      const path = SUM_LINE.exec(line)?.[1]
      return path === undefined
        ? line
        : `${host} ${before.has(line) ? 'as before' : 'other than before'}: ${path}`
    })
    .map(normal)
}

/** Which member a backup was saved on is the election's to say: what that leaves is compared without its host. */
function sharedOut(lines: string[]): string[] {
  const files = lines.map((line) =>
    line.replace(/^cp-\d+(?= (backup file: |step: \S*(backup-|send\.)))/, 'some host'),
  )
  // The first of its kind makes the directory, and the next one may be on another host.
  const directories = /^cp-\d+ ((dir: var\/lib\/etcd-backups|state: var\/lib\/requorum(\/steps)?) .*)$/
  const made = files.flatMap((line) => directories.exec(line)?.[1] ?? [])
  return [
    ...files.filter((line) => !directories.test(line)),
    ...new Set(made.map((line) => `some host ${line}`)),
  ]
}

/** Without what is this lab's alone. */
function withoutNames({ name, hosts }: Lab, line: string): string {
  const named = hosts.hosts.reduce(
    (text, host) =>
      text.replaceAll(
        new RegExp(`\\b${host.address.replaceAll('.', '\\.')}\\b`, 'g'),
        `ADDRESS-OF-${host.name}`,
      ),
    line,
  )
  return named.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), 'LAB')
}

/** Without what names one run or one moment. */
function normal(line: string): string {
  return (
    line
      .replaceAll(/\d{8}[Tt]\d{6}[Zz]-[0-9a-f]{8}/g, 'RECOVERY')
      .replaceAll(/backup-[0-9a-f]{12}/g, 'backup-RUN')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'RUN')
      .replaceAll(/\d{8}[Tt]\d{6}[Zz]/g, 'TIME')
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME')
      .replaceAll(/\b[0-9a-f]{64}\b/g, 'SHA256')
      .replaceAll(/\bstaged-[0-9a-f]{16}\b/g, 'staged-SHA256')
      .replaceAll(/\b(send|fetch)\.[0-9a-f]{16}\b/g, '$1.KEY')
      .replaceAll(/\bversion [0-9a-f]{32}\b/g, 'version ID')
      .replaceAll(/\bcluster [0-9a-f]{16}/g, 'cluster ID')
      // From the peer URL, and so from the lab's addresses; as etcdctl types it, without leading zeros.
      .replaceAll(/\bmember (remove |promote )?[0-9a-f]{10,16}\b/g, 'member $1ID')
  )
}
