import { RequorumError } from './failures.ts'
import { staticPodFlags } from './static-pod-flags.ts'

/** What a static-pod manifest says of its etcd. Read from the running manifest, never from a template. */
export interface EtcdFlags {
  readonly name: string
  readonly dataDir: string
  readonly walDir: string | null
  readonly peerUrl: string
  readonly initialCluster: string
  readonly initialClusterState: string | null
  /** 0 where the flag is absent or says so: etcd's default holds then. Below 0: there is no quota. */
  readonly quotaBytes: number
}

/** etcd's default where the flag is absent or 0 (server/storage/quota.go, DefaultQuotaBytes). */
export const DEFAULT_QUOTA_BYTES = 2 * 1024 ** 3

/** How big a member's database may get before writes are refused; null where the manifest switches the quota off. */
export function quotaOf(manifest: string | null): number | null {
  if (manifest === null) return DEFAULT_QUOTA_BYTES
  try {
    const bytes = readEtcdFlags(manifest).quotaBytes
    if (bytes < 0) return null
    return bytes > 0 ? bytes : DEFAULT_QUOTA_BYTES
  } catch {
    return DEFAULT_QUOTA_BYTES // an unreadable manifest is told of elsewhere
  }
}

function unreadable(what: string): RequorumError {
  return new RequorumError('etcd-output-unreadable', {
    what,
    todo: 'Compare the manifest with one that kubeadm wrote (`kubeadm init phase etcd local --dry-run`) and mend it.',
  })
}

export function readEtcdFlags(manifest: string): EtcdFlags {
  const flags = staticPodFlags(manifest)
  if (flags === null) throw unreadable('The etcd manifest has no command list in its first container.')
  const needed = (flag: string): string => {
    const value = flags.get(flag)
    if (value === undefined) throw unreadable(`The etcd manifest has no --${flag}=… in its command.`)
    return value
  }
  return {
    name: needed('name'),
    dataDir: needed('data-dir'),
    walDir: flags.get('wal-dir') ?? null,
    peerUrl: needed('initial-advertise-peer-urls'),
    initialCluster: flags.get('initial-cluster') ?? '',
    initialClusterState: flags.get('initial-cluster-state') ?? null,
    quotaBytes: Number(flags.get('quota-backend-bytes') ?? 0) || 0,
  }
}

/**
 * The same manifest with the full member list and `existing`, every other byte as it was.
 *
 * kubeadm's first node lists only itself and has no `initial-cluster-state`: should its data directory ever
 * be empty again it would become an empty cluster of its own that says it is healthy (kubespray#13261,
 * etcd#12227). With the list and `existing` it asks its peers, or refuses to start.
 */
export function withFullMemberList(manifest: string, initialCluster: string): string {
  const state = '--initial-cluster-state=existing'
  const listFlag = /^([ \t]*- )(["']?)--initial-cluster=[^\n]*$/m
  const stateFlag = /^([ \t]*- )(["']?)--initial-cluster-state=[^\n]*$/m
  if (!listFlag.test(manifest)) throw unreadable('The etcd manifest has no line with --initial-cluster=….')
  const withoutState = !stateFlag.test(manifest)
  const listed = manifest.replace(listFlag, (_line, dash: string, quote: string) => {
    const list = `${dash}${quote}--initial-cluster=${initialCluster}${quote}`
    return withoutState ? `${list}\n${dash}${state}` : list
  })
  const edited = withoutState ? listed : listed.replace(stateFlag, (_line, dash: string) => `${dash}${state}`)

  // The edit is textual so that bytes stay; the reading is structural so that the edit is proved.
  const flags = readEtcdFlags(edited)
  if (flags.initialCluster !== initialCluster || flags.initialClusterState !== 'existing') {
    throw unreadable('The etcd manifest could not be given its member list line by line.')
  }
  return edited
}

/** Flags whose URLs say where this one member is. */
const OWN_URLS = ['listen-peer-urls', 'advertise-client-urls', 'listen-client-urls', 'listen-metrics-urls']

/**
 * One member's manifest as that of another: its name, where it listens and what it advertises, the full member list
 * and `existing`; every other byte is as it was. A member of the same cluster has the same version, flags, paths and
 * probes, so what kubeadm or a person set for one holds for the next.
 *
 * @throws RequorumError `etcd-output-unreadable` where the manifest names its member in a way that is not understood
 */
export function manifestOfMember(
  manifest: string,
  member: { readonly name: string; readonly peerUrl: string },
  initialCluster: string,
): string {
  const was = readEtcdFlags(manifest)
  const [from, to] = [partsOf(was.peerUrl), partsOf(member.peerUrl)]
  if (from.scheme !== to.scheme || from.port !== to.port) {
    throw unmade(`it is reached at ${was.peerUrl} and not, like the new one, at ${to.scheme}://…:${to.port}.`)
  }
  const moved = (urls: string): string =>
    urls
      .split(',')
      .map((url) => (hostIn(url) === from.host ? url.replace(from.host, () => to.host) : url))
      .join(',')
  const flagLine = (names: readonly string[]): RegExp =>
    new RegExp(`^([ \\t]*- ["']?--(?:${names.join('|')})=)([^\\s"']*)`, 'gm')
  const edited = manifest
    .replace(flagLine(['name']), (_line, flag: string) => flag + member.name)
    .replace(flagLine(['initial-advertise-peer-urls']), (_line, flag: string) => flag + member.peerUrl)
    .replace(flagLine(OWN_URLS), (_line, flag: string, urls: string) => flag + moved(urls))
    .replace(
      /^([ \t]*kubeadm\.kubernetes\.io\/etcd\.advertise-client-urls: )(\S+)/m,
      (_line, key: string, urls: string) => key + moved(urls),
    )
  const made = withFullMemberList(edited, initialCluster)

  // The edit is textual so that bytes stay; the reading is structural so that nothing speaks of the other member.
  const flags = readEtcdFlags(made)
  if (flags.name !== member.name || flags.peerUrl !== member.peerUrl) {
    throw unmade('its name and peer URL could not be set line by line.')
  }
  const advertised = staticPodFlags(made)?.get('advertise-client-urls')?.split(',') ?? []
  const elsewhere = advertised.find((url) => hostIn(url) !== to.host)
  if (elsewhere !== undefined) throw unmade(`it tells clients to go to ${elsewhere}.`)
  const old = [...(from.host === to.host ? [] : [from.host]), ...(was.name === member.name ? [] : [was.name])]
  for (const line of made.split('\n').filter((one) => !one.includes('--initial-cluster='))) {
    const word = old.find((one) => standsIn(line, one))
    if (word !== undefined) throw unmade(`it speaks of ${word} in "${line.trim()}".`)
  }
  return made
}

function unmade(why: string): RequorumError {
  return new RequorumError('etcd-output-unreadable', {
    what: "Another member's manifest can't be made into that of the new one. Nothing was touched.",
    why,
    todo: "Put the new member's own etcd.yaml where the kubelet looks, then start again; its etcd is stopped by itself.",
  })
}

/** A workflow has no `URL`; the cluster file's schema and etcd itself have checked these. */
function partsOf(url: string): { scheme: string; host: string; port: string } {
  const found = /^(https?):\/\/(\[[^\]]+\]|[^:/,]+):(\d+)$/.exec(url)
  if (found === null) throw unmade(`${url} is not one URL with a port.`)
  const [, scheme = '', host = '', port = ''] = found
  return { scheme, host, port }
}

function hostIn(url: string): string | null {
  return /^https?:\/\/(\[[^\]]+\]|[^:/]+)/.exec(url)?.[1] ?? null
}

/** As a word of its own: 10.0.1.1 is not in 10.0.1.11, nor cp-1 in cp-11. */
function standsIn(line: string, word: string): boolean {
  const at = line.indexOf(word)
  if (at < 0) return false
  const part = /[A-Za-z0-9-]/
  const [before, after] = [line[at - 1] ?? '', line[at + word.length] ?? '']
  return (!part.test(before) && !part.test(after)) || standsIn(line.slice(at + 1), word)
}
