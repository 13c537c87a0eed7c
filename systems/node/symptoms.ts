import { X509Certificate } from 'node:crypto'
import type {
  ApiServerFacts,
  Certificate,
  DiskFacts,
  EtcdLog,
  ProbeAnswer,
  Symptoms,
} from '../../domain/survey.ts'

/** The lines `key=value` that node-facts.sh printed. */
export interface Facts {
  /** @throws RequorumError `step-failed` when there is none. */
  one(key: string): string
  maybe(key: string): string | null
  all(key: string): string[]
}

/** @param tripMs - from the question to the answer, by our clock */
export function readSymptoms(facts: Facts, tripMs: number): Symptoms {
  const [begin, end] = [Number(facts.one('clock')), Number(facts.one('clock-end'))]
  const processes = facts
    .all('etcd-process')
    .filter((line) => line !== '') // one that ended while it was looked at
    .map((line) => ({ state: line.slice(0, 1), age: Number(line.slice(2)) }))
    .sort((a, b) => a.age - b.age)
  return {
    clock: new Date(end).toISOString(),
    clockErrorMs: Math.max(0, Math.round((tripMs - (end - begin)) / 2)),
    kubelet: facts.maybe('kubelet'),
    etcdAgeSeconds: processes[0]?.age ?? null,
    etcdState: processes[0]?.state ?? null,
    etcdLog: readLog(facts),
    certificates: facts.all('certificate').map(readCertificate),
    dataDisk: readDisk(facts.one('data-disk')),
    apiServer: facts.maybe('api') === null ? null : readApiServer(facts),
  }
}

function readLog(facts: Facts): EtcdLog | null {
  const number = facts.maybe('etcd-log')
  if (number === null) return null
  return {
    restarts: /^\d+$/.test(number) ? Number(number) : 0,
    fatal: lastWords(facts.maybe('etcd-fatal')),
    fatalBefore: lastWords(facts.maybe('etcd-fatal-before')),
  }
}

/** etcd's words without the JSON that its logger puts around them, or the runtime's own of a panic. */
function lastWords(encoded: string | null): string | null {
  const line = decode(encoded ?? '').trim()
  if (line === '') return null
  const field = (name: string): string | null =>
    new RegExp(`"${name}":"((?:[^"\\\\]|\\\\.)*)"`).exec(line)?.[1] ?? null
  const said = field('msg')
  const words =
    said === null
      ? line.replace(/^.*?(?=panic: |fatal error: |unexpected fault)/, '')
      : [said, field('error')].filter((part) => part !== null).join(': ')
  return words.replaceAll(/\s+/g, ' ').slice(0, 300)
}

function readCertificate(line: string): Certificate {
  const [name = '', path = '', encoded = ''] = line.split(' ')
  return { name, path, valid: validityOf(decode(encoded)) }
}

function validityOf(pem: string): Certificate['valid'] {
  try {
    const { validFrom, validTo } = new X509Certificate(pem)
    return { from: new Date(validFrom).toISOString(), until: new Date(validTo).toISOString() }
  } catch {
    return null // no certificate is a finding, whatever is there instead
  }
}

function readDisk(line: string): DiskFacts {
  const [sizeBytes = 0, freeBytes = 0, inodes = 0, freeInodes = 0] = line
    .trim()
    .split(/\s+/)
    // Filesystems without inodes have a dash.
    .map((number) => (/^\d+$/.test(number) ? Number(number) : 0))
  return { sizeBytes, freeBytes, inodes, freeInodes }
}

function readApiServer(facts: Facts): ApiServerFacts {
  return {
    pids: facts.all('api-pid').map(Number),
    readyz: readProbe(facts.maybe('api-readyz')),
    livez: readProbe(facts.maybe('api-livez')),
  }
}

function readProbe(line: string | null): ProbeAnswer {
  if (line === null) return { status: null, why: 'the node has no curl' }
  const [status = '', encoded = ''] = line.split(' ')
  const why = decode(encoded).trim().split('\n').join('; ')
  return { status: /^\d+$/.test(status) ? Number(status) : 0, why }
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8')
}
