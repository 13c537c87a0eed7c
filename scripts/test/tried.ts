import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { LabProfile } from '../../lab/hosts/lab-hosts.ts'
import { readLock } from '../../lab/parts/parts.mjs'

const root = join(import.meta.dirname, '../..')
const FILE = join(root, 'docs/tried.json')
const README = join(root, 'README.md')
const BEGIN = '<!-- tried: written by `npm test -- --record` -->'
const END = '<!-- end of tried -->'

const rowShape = z.object({
  /** `1.33.13`, or null where a stand-in holds the static pods. */
  kubernetes: z.string().nullable(),
  etcd: z.string(),
  /** Of the machine, which is the lab's too: distribution, architecture, generation of cgroups. */
  system: z.string(),
  /** How many tests of the lane ran, none of which failed. */
  tests: z.number(),
  /** UTC date, `2026-11-22`. */
  on: z.string(),
})

export type Tried = z.infer<typeof rowShape>

/** What the tests were passed on, oldest first. */
export function readTried(): readonly Tried[] {
  return z.array(rowShape).parse(JSON.parse(readFileSync(FILE, 'utf8')))
}

/** Notes that a whole lane of the lab passed here and now, and writes the README's table anew. */
export function recordTried(profile: LabProfile, tests: number): void {
  const { kubernetes, etcd } = readLock()
  const row: Tried = {
    kubernetes: profile === 'kubeadm' ? kubernetes.version : null,
    etcd: etcd.version,
    system: machine(),
    tests,
    on: new Date().toISOString().slice(0, 10),
  }
  const same = (other: Tried): boolean =>
    other.kubernetes === row.kubernetes && other.etcd === row.etcd && other.system === row.system
  const rows = [...readTried().filter((other) => !same(other)), row]
  writeFileSync(FILE, `${JSON.stringify(rows, null, 2)}\n`)
  writeFileSync(README, withTable(readFileSync(README, 'utf8'), rows))
}

/** The README with this table between its marks. @throws Error when it has no marks. */
export function withTable(readme: string, rows: readonly Tried[]): string {
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (from < 0 || to < from) throw new Error(`The README has no "${BEGIN}" followed by "${END}".`)
  return `${readme.slice(0, from + BEGIN.length)}\n\n${triedTable(rows)}\n\n${readme.slice(to)}`
}

export function triedTable(rows: readonly Tried[]): string {
  const cells = [
    ['Kubernetes', 'etcd', 'on', 'tests passed', 'last'],
    ...rows.map((row) => [
      row.kubernetes ?? 'none: a stand-in for the kubelet',
      ...[row.etcd, row.system, String(row.tests), row.on],
    ]),
  ]
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(3, ...cells.map((line) => (line[column] ?? '').length)),
  )
  const lines = cells.map(
    (line) => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  )
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

function machine(): string {
  const release = readFileSync('/etc/os-release', 'utf8')
  const name = /^PRETTY_NAME="?(.*?)"?$/m.exec(release)?.[1] ?? 'an unnamed system'
  const cgroups = existsSync('/sys/fs/cgroup/cgroup.procs') ? 'v2' : 'v1'
  return `${name}, ${process.arch}, cgroup ${cgroups}`
}
