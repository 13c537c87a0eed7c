import type { ClusterConfig } from '../cluster-config.ts'
import { staticPodFlags } from '../static-pod-flags.ts'
import { counted, fail, judged, type Finding } from './finding.ts'

/** A certificate on a node: the file, the authority that has to have signed it, and where it is served. */
export interface CertificateOnNode {
  readonly name: string
  readonly file: string
  readonly authority: string
  /** `host:port` of a TLS server that has to show it; null for what clients show. */
  readonly servedAt: string | null
}

/** What openssl said of one, on its node. */
export interface CertificateSeen {
  readonly node: string
  readonly name: string
  /** Why it could not be looked at. */
  readonly problem: string | null
  readonly endsAt: string | null
  /** `ok`, or openssl's words. */
  readonly chain: string
  /** Of what is served there; null when nothing is to be served. */
  readonly served: 'same' | 'other' | 'nothing' | null
}

const DAY_MS = 86_400_000
/** kubeadm's certificates live a year, and an upgrade renews them: a month is enough to plan one. */
const WARN_DAYS = 30

/** etcd's own certificates, by the flags of its manifest; and the one that this program asks it with. */
export function etcdCertificates(manifest: string, { etcd }: ClusterConfig): CertificateOnNode[] {
  const flags = staticPodFlags(manifest)
  if (flags === null) return []
  const client = flags.get('trusted-ca-file') ?? etcd.caCert
  const peer = flags.get('peer-trusted-ca-file') ?? client
  return [
    ...certificate('etcd server', flags.get('cert-file'), client, hostPort(etcd.clientUrl)),
    ...certificate('etcd peer', flags.get('peer-cert-file'), peer, hostPort(flags.get('listen-peer-urls'))),
    ...certificate('etcd health check client', etcd.cert, client, null),
    ...certificate('etcd authority', client, client, null),
  ]
}

/** An API server's certificates, by the flags of its manifest. `address` is where it listens. */
export function apiCertificates(manifest: string, address: string): CertificateOnNode[] {
  const flags = staticPodFlags(manifest)
  if (flags === null) return []
  const authority = flags.get('client-ca-file')
  const front = flags.get('requestheader-client-ca-file')
  return [
    ...certificate('API server', flags.get('tls-cert-file'), authority, address),
    ...certificate("API server's etcd client", flags.get('etcd-certfile'), flags.get('etcd-cafile'), null),
    ...certificate("API server's kubelet client", flags.get('kubelet-client-certificate'), authority, null),
    ...certificate('front proxy client', flags.get('proxy-client-cert-file'), front, null),
    ...certificate('cluster authority', authority, authority, null),
  ]
}

function certificate(
  name: string,
  file: string | undefined,
  authority: string | undefined,
  servedAt: string | null,
): CertificateOnNode[] {
  return file === undefined || authority === undefined ? [] : [{ name, file, authority, servedAt }]
}

/** The first of a list of URLs as openssl wants it; null where it isn't TLS. */
function hostPort(urls: string | undefined): string | null {
  return /^https:\/\/([^/,]+)/.exec(urls ?? '')?.[1] ?? null
}

/**
 * Expired or not of its authority: a failure. Ending within a month, not what its server shows, or not shown at
 * all: to be looked at. What could not be read at all is a failure too.
 */
export function judgeCertificates(seen: readonly CertificateSeen[], now: Date): Finding {
  if (seen.length === 0) return fail('no manifest names a certificate')
  const wrong: string[] = []
  const doubtful: string[] = []
  let first: { text: string; days: number } | null = null
  for (const { node, name, problem, endsAt, chain, served } of seen) {
    const which = `${node}: ${name}`
    if (problem !== null || endsAt === null) {
      wrong.push(`${which}: ${problem ?? 'its end could not be read'}`)
      continue
    }
    const days = Math.floor((Date.parse(endsAt) - now.getTime()) / DAY_MS)
    if (days < 0) wrong.push(`${which} has expired, ${endsAt}`)
    else if (days < WARN_DAYS) doubtful.push(`${which} ends in ${counted(days, 'day')}, ${endsAt}`)
    if (chain !== 'ok') wrong.push(`${which} is not of its authority: ${chain}`)
    if (served === 'other') doubtful.push(`${which}: another one is served than lies on disk`)
    if (served === 'nothing') doubtful.push(`${which}: nothing answers where it should be served`)
    if (first === null || days < first.days) first = { text: which, days }
  }
  const soonest =
    first === null ? '' : `; the first to end is ${first.text}, in ${counted(first.days, 'day')}`
  return judged(`${counted(seen.length, 'certificate')} good${soonest}`, { wrong, doubtful })
}
