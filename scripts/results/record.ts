import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { wishedEtcd } from '../../lab/parts/etcd.ts'
import { etcdVersion } from '../../lab/parts/parts.mjs'

const ROOT = join(import.meta.dirname, '../..')
const DIR = 'docs/results'

/** What a long command found, as it is kept for whoever reads the repository and does not run it. */
export interface Result {
  /** The page's name, and nothing else's: the next result of this name takes its place. */
  readonly name: string
  readonly title: string
  /** What finds it again. */
  readonly command: string
  /** In one line; also when it is a bad one. */
  readonly verdict: string
  /** The etcd that it ran on, when somebody chose it. */
  readonly etcd?: string
  /** What it ran on beside etcd: `Kubernetes 1.33.13`. */
  readonly beside?: string
  /** Markdown. */
  readonly body: string
}

/** When, of which code and where a result was found. */
export interface Circumstances {
  readonly at: Date
  /** Abbreviated, with a word when files differed from it. */
  readonly commit: string
  readonly machine: string
  readonly etcd: string
}

/** Writes the page of a result, over the one before. @returns its path from the root, for people. */
export function recordResult(result: Result, circumstances = here()): string {
  mkdirSync(join(ROOT, DIR), { recursive: true })
  const file = join(DIR, `${result.name}.md`)
  writeFileSync(join(ROOT, file), resultPage(result, circumstances))
  return file
}

export function resultPage(result: Result, { at, commit, machine, etcd }: Circumstances): string {
  const facts: [string, string][] = [
    ['Result', result.verdict],
    ['Command', `\`${result.command}\``],
    ['When', `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`],
    ['Commit', commit],
    ['Machine', machine],
    ['On', [`etcd ${result.etcd ?? etcd}`, result.beside].filter((one) => one !== undefined).join(', ')],
  ]
  return [
    `# ${result.title}`,
    '',
    ...facts.map(([name, value]) => `- ${name}: ${value}`),
    '',
    result.body.trim(),
    '',
  ].join('\n')
}

/** A table in Markdown. What would end a cell or a line is made harmless. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')
}

function here(): Circumstances {
  return { at: new Date(), commit: commitHere(), machine: machine(), etcd: etcdVersion(wishedEtcd()) }
}

/** The commit that is checked out, with a word when files differ from it. */
export function commitHere(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const changed = git('status', '--porcelain', '--', '.', `:!${DIR}`) !== ''
    return `${git('rev-parse', '--short=10', 'HEAD')}${changed ? ', with changes that were not committed' : ''}`
  } catch {
    return 'unknown: no clone of a repository'
  }
}

function machine(): string {
  const release = readFileSync('/etc/os-release', 'utf8')
  const name = /^PRETTY_NAME="?(.*?)"?$/m.exec(release)?.[1] ?? 'an unnamed system'
  const cgroups = existsSync('/sys/fs/cgroup/cgroup.procs') ? 'v2' : 'v1'
  const memory = `${Math.round(totalmem() / 1024 ** 3)} GiB`
  return `${name}, ${process.arch}, ${availableParallelism()} cores, ${memory}, cgroup ${cgroups}`
}
