/** The search for secrets that every lab of the tests ends with: wherever one could have gone, and others can look. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { atConsole } from '../../lab/hosts/console.ts'
import { SECRET_CANARY } from '../../lab/hosts/kubernetes-values.ts'
import type { Lab } from '../../lab/lab.ts'
import { accessKey } from '../lab/bucket-admin.ts'
import { everyHost, type OwnLab } from '../lab/own-lab.ts'

/** What was looked at, so that a search that saw nothing is not taken for one that found nothing. */
export interface Search {
  /** `content of a Secret in history of recovery/lab`; empty is what is wanted. */
  readonly found: readonly string[]
  /** Runs whose payloads could be read, files of engine and worker, hosts that were on. */
  readonly runs: number
  readonly files: number
  readonly hosts: number
}

/**
 * Looks through every history and its database, the logs of engine and worker, and on each host through what Requorum left,
 * its runtime directory, /tmp and the system's journal. What is down can't be asked and is not counted.
 */
export async function searchLab({ lab, operator }: OwnLab, needles?: readonly Needle[]): Promise<Search> {
  const wanted = needles ?? (await secretsOf(lab))
  const histories = await inHistories({ lab, operator }, wanted).catch(() => ({ found: [], runs: 0 }))
  const files = await filesBelow(join(lab.dir, 'engine'))
  const inFiles = await Promise.all(
    files.map(async (file) => findIn(wanted, file, await readFile(file, 'latin1').catch(() => ''))),
  )
  const hosts = await everyHost(lab, async (host) => {
    const text = await onHost(
      lab,
      host,
      `cd / && tar -cf - --ignore-failed-read var/lib/requorum run/requorum tmp 2>/dev/null | base64 -w0
       echo; journalctl --no-pager -o export | base64 -w0`,
    )
    if (text === undefined) return undefined
    const [left = '', journal = ''] = text
      .split('\n')
      .map((part) => Buffer.from(part, 'base64').toString('latin1'))
    return [
      ...findIn(wanted, `what is left on ${host}`, left),
      ...findIn(wanted, `journal of ${host}`, journal),
    ]
  })
  const on = hosts.filter((found) => found !== undefined)
  return {
    found: [...histories.found, ...inFiles.flat(), ...on.flat()],
    ...{ runs: histories.runs, files: files.length, hosts: on.length },
  }
}

async function inHistories(
  { lab, operator }: OwnLab,
  needles: readonly Needle[],
): Promise<Pick<Search, 'found' | 'runs'>> {
  const found: string[] = []
  let runs = 0
  for await (const { workflowId, runId } of operator.client.workflow.list()) {
    const history = await operator.client.workflow.getHandle(workflowId, runId).fetchHistory()
    const text = textsOf(history).join('\n')
    found.push(...findIn(needles, `history of ${workflowId}`, text))
    if (text.includes(`"cluster":"${lab.name}"`)) runs += 1
  }
  return { found, runs }
}

/** What a script says on a host; undefined when it is off. */
async function onHost(lab: Lab, host: string, script: string): Promise<string | undefined> {
  return atConsole(lab.hosts, host, script).then(
    ({ stdout }) => stdout,
    () => undefined,
  )
}

export interface Needle {
  readonly what: string
  readonly text: string
}

/** Each secret as it is, and in base64 as far as that doesn't depend on where it stands. */
export async function secretsOf(lab: Lab): Promise<Needle[]> {
  const [, secret] = await accessKey(lab, lab.store.profile)
  const [, admin] = await accessKey(lab, lab.store.adminProfile)
  const keys = await everyHost(lab, async (host) => {
    const files = '/etc/kubernetes/pki/etcd/*.key /etc/ssh/ssh_host_*_key'
    const keys = await onHost(lab, host, `for key in ${files}; do echo "@$key"; cat "$key"; done`)
    return keyNeedles(host, keys ?? '')
  })
  const login = await readFile(join(lab.dir, 'ssh', 'id_ed25519'), 'utf8')
  return [
    { what: "Requorum's S3 secret", text: secret },
    { what: "the admin's S3 secret", text: admin },
    ...(await kmsTokens(lab)),
    { what: 'content of a Secret', text: SECRET_CANARY },
    // Whoever has such a URL may use it, as long as it is good.
    { what: 'a signed URL', text: 'X-Amz-Signature=' },
    // The store's session tokens are JWTs, and every JWT begins so.
    { what: 'a session token', text: 'eyJhbGciOi' },
    ...[0, 1, 2].map((shift) => ({
      what: 'content of a Secret in base64',
      text: innerBase64(SECRET_CANARY, shift),
    })),
    ...keyNeedles('the worker', `@ssh/id_ed25519\n${login}`),
    ...keys.flat(),
  ]
}

/** A line from the middle of each key: the same in every encoding that keeps lines, and no other key has it. */
function keyNeedles(where: string, text: string): Needle[] {
  return text
    .split(/^@/m)
    .filter((part) => part.includes('PRIVATE KEY'))
    .map((part) => {
      const [name = '', ...lines] = part.trimEnd().split('\n')
      const inner = lines.filter((line) => !line.startsWith('-----'))
      return { what: `${name} of ${where}`, text: (inner.at(-2) ?? inner[0] ?? '').slice(-40) }
    })
}

/** What base64 of any text with this in it contains, at one of the three places where it can begin. */
function innerBase64(text: string, shift: number): string {
  const encoded = Buffer.from('x'.repeat(shift) + text).toString('base64')
  return encoded.slice(shift === 0 ? 0 : 4, -4)
}

export function findIn(needles: readonly Needle[], where: string, haystack: string): string[] {
  return needles.filter(({ text }) => haystack.includes(text)).map(({ what }) => `${what} in ${where}`)
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

/** Every text in it; payloads are bytes there and are read as text, too. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('latin1')]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : []
}

async function kmsTokens(lab: Lab): Promise<Needle[]> {
  const kms = join(lab.dir, 'store', 'kms')
  const [token, seal] = await Promise.all(
    ['store-token', 'seal.json'].map((name) => readFile(join(kms, name), 'utf8')),
  )
  const root = /"rootToken":"([^"]+)"/.exec(seal ?? '')?.[1]
  if (token === undefined || root === undefined)
    throw new Error(`The KMS of ${lab.name} has no tokens to look for.`)
  return [
    { what: "the store's KMS token", text: token.trim() },
    { what: 'the root token of the KMS', text: root },
  ]
}
