/**
 * Stands in every seeded Secret. Whoever looks for snapshot content where it must not be, in
 * histories, logs, reports or process lists, searches for this.
 */
export const SECRET_CANARY = 'REQUORUM-CANARY-this-is-secret-content'

/** One kind of object as Kubernetes keeps it in etcd, with its share of a seeded keyspace. */
export interface SeededKind {
  /** Below /registry/, as kube-apiserver's storage names it. */
  readonly resource: string
  readonly apiVersion: string
  readonly kind: string
  readonly namespaced: boolean
  readonly weight: number
  /** Size of a value in bytes, from and to. */
  readonly size: readonly [number, number]
}

export const SEEDED_KINDS: readonly SeededKind[] = [
  { resource: 'pods', apiVersion: 'v1', kind: 'Pod', namespaced: true, weight: 20, size: [2000, 6000] },
  { resource: 'events', apiVersion: 'v1', kind: 'Event', namespaced: true, weight: 25, size: [400, 900] },
  { resource: 'secrets', apiVersion: 'v1', kind: 'Secret', namespaced: true, weight: 10, size: [300, 3000] },
  {
    resource: 'configmaps',
    apiVersion: 'v1',
    kind: 'ConfigMap',
    namespaced: true,
    weight: 10,
    size: [200, 4000],
  },
  {
    resource: 'deployments',
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    namespaced: true,
    weight: 6,
    size: [1000, 3000],
  },
  {
    resource: 'replicasets',
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    namespaced: true,
    weight: 9,
    size: [1000, 2500],
  },
  {
    resource: 'serviceaccounts',
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    namespaced: true,
    weight: 8,
    size: [150, 300],
  },
  {
    resource: 'services/specs',
    apiVersion: 'v1',
    kind: 'Service',
    namespaced: true,
    weight: 5,
    size: [400, 900],
  },
  {
    resource: 'leases',
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    namespaced: true,
    weight: 4,
    size: [200, 350],
  },
  {
    resource: 'namespaces',
    apiVersion: 'v1',
    kind: 'Namespace',
    namespaced: false,
    weight: 2,
    size: [200, 300],
  },
  { resource: 'minions', apiVersion: 'v1', kind: 'Node', namespaced: false, weight: 1, size: [3000, 8000] },
]

/** Random numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * A value as kube-apiserver stores one: "k8s\0", then a runtime.Unknown with type and object in
 * protobuf (apimachinery pkg/runtime/serializer/protobuf). What follows the metadata is filling.
 */
export function objectValue(
  kind: SeededKind,
  object: { readonly name: string; readonly namespace: string; readonly version: number },
  random: () => number,
): Buffer {
  const [from, to] = kind.size
  const filling = Buffer.alloc(from + Math.floor(random() * (to - from)))
  for (let index = 0; index < filling.length; index++) filling[index] = Math.floor(random() * 256)
  if (kind.kind === 'Secret') filling.write(SECRET_CANARY, 16)
  const metadata = Buffer.concat([
    field(1, Buffer.from(object.name)),
    field(3, Buffer.from(object.namespace)),
    field(6, Buffer.from(String(object.version))),
  ])
  return Buffer.concat([
    Buffer.from('k8s\0'),
    field(1, Buffer.concat([field(1, Buffer.from(kind.apiVersion)), field(2, Buffer.from(kind.kind))])),
    field(2, Buffer.concat([field(1, metadata), field(2, filling)])),
  ])
}

/** A length-delimited protobuf field. */
function field(number: number, content: Buffer): Buffer {
  const length: number[] = []
  let rest = content.length
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), content])
}
