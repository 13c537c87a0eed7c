import { z } from 'zod'
import { DRILL_FAULT_NAMES, DRILL_FAULTS, DRILL_RUNBOOKS } from './drill-faults.ts'
import { CHECK_NAMES, checkName } from './validation/checks.ts'
import { etcdId } from './values.ts'

/**
 * One cluster, as its YAML file says it. The schema is the single source of types, defaults and messages.
 * Unknown fields are errors: a mistyped limit that is silently ignored is found at 02:14.
 *
 * Durations are written as people write them (`90s`, `10m`, `6h`, `2d`) and are milliseconds in the type.
 * Paths are absolute paths on the node; `ssh` paths are on the worker's host, relative to Requorum's home, and
 * `approval.allowedSigners` is relative to the cluster's file.
 */
const HOUR_MS = 3_600_000
const UNIT_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export const duration = z
  .string()
  .regex(/^\d+(s|m|h|d)$/, 'a duration like 90s, 10m, 6h or 2d')
  .transform((text) => Number(text.slice(0, -1)) * (UNIT_MS[text.slice(-1)] ?? Number.NaN))

const UNIT_BYTES: Record<string, number> = { K: 1_024, M: 1_024 ** 2, G: 1_024 ** 3 }

const bytes = z
  .string()
  .regex(/^[1-9]\d*[KMG]iB$/, 'a size like 512KiB, 20MiB or 1GiB')
  .transform((text) => Number(text.slice(0, -3)) * (UNIT_BYTES[text.slice(-3, -2)] ?? Number.NaN))

const checkLimit = duration.refine((ms) => ms >= 1_000 && ms <= 3_600_000, 'between 1s and 1h')

const atLeastADay = duration.refine((ms) => ms >= 24 * HOUR_MS, 'at least 1d')

const nodePath = z.string().regex(/^\/[A-Za-z0-9._/@-]+$/, 'an absolute path of plain characters')
// Node names become etcd member names, file names and unit names: keep to what Kubernetes allows for a node.
const nodeName = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, 'a node name as Kubernetes has it')
export const clusterName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$/, 'lower-case letters, digits and hyphens, 42 at most')
const address = z.string().regex(/^[A-Za-z0-9.:-]+$/, 'a host name or an address')
const port = z.number().int().min(1).max(65_535)

const checkpointPolicy = z
  .strictObject({
    /** How many different people have to agree. */
    people: z.number().int().min(1).max(5).default(1),
    /** How long a run waits for them before it takes the checkpoint's safe end. */
    timeout: duration.prefault('24h'),
  })
  .prefault({})

const nodeSchema = z
  .strictObject({
    name: nodeName,
    /** Where SSH answers. */
    address,
    port: port.default(22),
    user: z
      .string()
      .regex(/^[a-z_][a-z0-9_-]{0,31}$/)
      .default('root'),
    /** etcd's peer URL; by default `https://<address>:2380`. */
    peerUrl: z
      .string()
      .regex(/^https?:\/\/[A-Za-z0-9.:[\]-]+:\d+$/, 'a URL like https://10.0.1.11:2380')
      .optional(),
  })
  .transform((node) => ({ ...node, peerUrl: node.peerUrl ?? `https://${node.address}:2380` }))

const writtenSchema = z.strictObject({
  cluster: clusterName,
  nodes: z
    .array(nodeSchema)
    .min(1)
    .max(7)
    .refine((nodes) => new Set(nodes.map((n) => n.name)).size === nodes.length, 'node names have to differ')
    .refine(
      (nodes) => new Set(nodes.map((n) => n.peerUrl)).size === nodes.length,
      'peer URLs have to differ',
    ),
  ssh: z
    .strictObject({
      /** Host keys that are trusted, in OpenSSH's known_hosts format. Any other host is refused. */
      knownHosts: z.string().min(1).default('known_hosts'),
      /** A private key file. Without it the agent at SSH_AUTH_SOCK is asked. */
      identityFile: z.string().min(1).optional(),
      /** A jump host, `user@host:port`. Its key has to be in known_hosts too. */
      jump: z
        .string()
        .regex(/^[a-z_][a-z0-9_-]*@[A-Za-z0-9.-]+(:\d+)?$/, 'user@host or user@host:port')
        .optional(),
      connectTimeout: duration.prefault('10s'),
    })
    .prefault({}),
  etcd: z
    .strictObject({
      manifests: nodePath.default('/etc/kubernetes/manifests'),
      dataDir: nodePath.default('/var/lib/etcd'),
      clientUrl: z
        .string()
        .regex(/^https?:\/\/[A-Za-z0-9.:[\]-]+:\d+$/)
        .default('https://127.0.0.1:2379'),
      caCert: nodePath.default('/etc/kubernetes/pki/etcd/ca.crt'),
      cert: nodePath.default('/etc/kubernetes/pki/etcd/healthcheck-client.crt'),
      key: nodePath.default('/etc/kubernetes/pki/etcd/healthcheck-client.key'),
      /** A name looked up in PATH, or an absolute path, on the node. */
      etcdctl: z
        .string()
        .regex(/^[A-Za-z0-9._/@-]+$/)
        .default('etcdctl'),
      etcdutl: z
        .string()
        .regex(/^[A-Za-z0-9._/@-]+$/)
        .default('etcdutl'),
    })
    .prefault({}),
  /** How API servers are asked: with kubectl on a node, by SSH. There is no other way to them, and no other credential. */
  kubernetes: z
    .strictObject({
      /** A name looked up in PATH, or an absolute path, on the node. */
      kubectl: z
        .string()
        .regex(/^[A-Za-z0-9._/@-]+$/)
        .default('kubectl'),
      adminConf: nodePath.default('/etc/kubernetes/admin.conf'),
    })
    .prefault({}),
  store: z.strictObject({
    bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'a bucket name'),
    /** Only for stores other than AWS S3. */
    endpoint: z.url({ protocol: /^https?$/ }).optional(),
    region: z.string().min(1).default('us-east-1'),
    /** Put before `daily/`, `monthly/` and the rest; ends with a slash when it isn't empty. */
    prefix: z
      .string()
      .regex(/^([A-Za-z0-9._-]+\/)*$/, 'empty, or a path that ends with /')
      .default(''),
    kmsKeyId: z.string().min(1),
    pathStyle: z.boolean().default(false),
    /** AWS shared-credentials file and profile; without them the SDK's default chain is asked. */
    credentialsFile: z.string().min(1).optional(),
    profile: z.string().min(1).optional(),
    /**
     * ARN of a role that those credentials take on for each kind of request, with no more than the rights that it needs
     * (STS AssumeRole with a session policy). Without it they do everything themselves.
     */
    role: z
      .string()
      .regex(/^arn:[a-z-]+:iam::\d{0,12}:role\/[\w+=,.@/-]{1,512}$/, 'the ARN of an IAM role')
      .optional(),
    /** Where STS answers, for stores other than AWS S3; by default where the store does. */
    stsEndpoint: z.url({ protocol: /^https?$/ }).optional(),
  }),
  /** Signed manifests: whoever may write to the bucket still can't pass something off as a snapshot. */
  signing: z
    .strictObject({
      /** A private SSH key without a passphrase on the worker's host, relative to Requorum's home; it signs every manifest. */
      key: z.string().min(1).optional(),
      /**
       * An allowed-signers file (ssh-keygen(1)), relative to Requorum's home. With it a snapshot counts only if its
       * manifest is signed by a key that stands there.
       */
      signers: z.string().min(1).optional(),
    })
    .prefault({}),
  /** How snapshots come to the store and back. */
  transfer: z
    .strictObject({
      /**
       * `direct`: by the node itself, with a URL that is good for one object and for minutes. `relay`: through the
       * worker. `auto`: directly where the node reaches the store.
       */
      way: z.enum(['auto', 'direct', 'relay']).default('auto'),
      /** The most that one transfer takes of the line, as `20MiB` a second. */
      bandwidth: bytes.optional(),
      /** `auto`: by zstd where the source has it, else by gzip. On the node, beside the local copy, at low priority. */
      compression: z.enum(['none', 'auto']).default('none'),
      /** Larger snapshots are stored in parts, so that a broken upload goes on where it was. S3 takes 5 GiB in one put. */
      partsAbove: bytes.refine((size) => size <= 5 * 1024 ** 3, 'at most 5GiB').prefault('5GiB'),
      partSize: bytes
        .refine((size) => size >= 5 * 1024 ** 2 && size <= 5 * 1024 ** 3, 'between 5MiB and 5GiB')
        .prefault('256MiB'),
    })
    .prefault({}),
  backup: z
    .strictObject({
      every: duration.prefault('6h'),
      jitter: duration.prefault('5m'),
      /** A run that was missed is made up for within this time (Temporal's own default is a year). */
      catchup: duration.prefault('3h'),
      retries: z.number().int().min(0).max(10).default(2),
      directory: nodePath.default('/var/lib/etcd-backups'),
      keepLocal: z.number().int().min(1).max(100).default(8),
    })
    .prefault({}),
  /** How long what newer proved snapshots have superseded stays in the store; the bucket's own rules do the rest. */
  retention: z
    .strictObject({
      daily: atLeastADay.prefault('30d'),
      /** The first proved snapshot of each month is copied to `monthly/`. */
      monthly: atLeastADay.prefault('365d'),
      quarantine: atLeastADay.prefault('90d'),
      /**
       * S3 Object Lock: what is stored can't be deleted before its retention is over, by nobody under `compliance`, under
       * `governance` by who may bypass it. The bucket has to have it on.
       */
      lock: z.enum(['none', 'governance', 'compliance']).default('none'),
      /** This many of the newest proved snapshots never expire, however old they are. */
      keep: z.number().int().min(1).max(50).default(3),
    })
    .prefault({}),
  /** A snapshot outside these bounds is kept in quarantine/ and never replaces a good one. */
  plausibility: z
    .strictObject({
      /** Against the median of this many newest proved snapshots. */
      recent: z.number().int().min(1).max(100).default(8),
      /** Fewest keys that are believed, as a share of the median. */
      leastKeys: z.number().min(0).max(1).default(0.5),
      /** Smallest size in use that is believed, as a share of the median. */
      leastSize: z.number().min(0).max(1).default(0.3),
      /** A cluster ID that is right although no snapshot and no restore knows it: after a restore by hand, say. */
      acceptClusterId: etcdId.optional(),
    })
    .prefault({}),
  /** What `watchFreshness` and `requorum snapshots check` hold the snapshots against. */
  freshness: z
    .strictObject({
      /** The oldest that the newest proved snapshot may be. Without it: an hour more than `backup.every`. */
      proved: duration.optional(),
      /** The oldest that the newest rehearsal of a snapshot may be. Without it: 8 days, or twice `rehearsal.every`. */
      rehearsed: duration.optional(),
      /** How often it is looked. */
      every: duration.prefault('30m'),
    })
    .prefault({}),
  /** The newest snapshot is restored and served for real, on the worker's host. */
  rehearsal: z
    .strictObject({
      /** `never`, or how often. */
      every: z.union([z.literal('never'), duration]).prefault('24h'),
      /** Directory of etcd, etcdctl and etcdutl on the worker's host; they are looked for in PATH without it. */
      tools: nodePath.optional(),
      /** Where it is done, with room for twice the snapshot; relative to Requorum's home. */
      directory: z.string().min(1).default('rehearsals'),
    })
    .prefault({}),
  limits: z
    .strictObject({
      /** How long static pods may take to end after their manifests are gone. */
      stop: duration.prefault('5m'),
      /** How long etcd may take from its manifest's return to a healthy cluster. */
      start: duration.prefault('10m'),
      /** How long one save, status, restore or transfer may take. */
      transfer: duration.refine((ms) => ms <= 9_000_000, 'at most 150m').prefault('2h'),
      /** How long a recovery waits for a running backup before it cancels it. */
      backupWait: duration.prefault('5m'),
    })
    .prefault({}),
  validate: z
    .strictObject({
      /** Checks that are left out, by name. A verdict names each and says that it was left out. */
      skip: z.array(checkName).default([]),
      /** How long a check may take, by its name, where its own limit (domain/validation/checks.ts) doesn't fit. */
      limits: z
        .strictObject(Object.fromEntries(CHECK_NAMES.map((name) => [name, checkLimit.optional()])))
        .default({}),
      canary: z
        .strictObject({
          /** A CoreDNS image that all nodes can start; by default the one that kube-system/coredns runs. */
          image: z
            .string()
            .regex(
              /^[A-Za-z0-9][A-Za-z0-9._/:@-]*$/,
              'an image like registry.example/coredns/coredns:v1.12.0',
            )
            .optional(),
        })
        .prefault({}),
    })
    .prefault({}),
  cleanUp: z
    .strictObject({
      /** What a recovery set aside is kept for at least this long after its cluster was open again. */
      olderThan: duration.prefault('7d'),
    })
    .prefault({}),
  approval: z
    .strictObject({
      /**
       * How it is proved who decides. `none`: the name is taken on trust; for the lab only. `ssh`: a signature of
       * a key in `allowedSigners`.
       */
      proof: z.enum(['none', 'ssh']).default('none'),
      /** An allowed-signers file (ssh-keygen(1)) on the worker's host, relative to this file. One name for each key. */
      allowedSigners: z.string().min(1).optional(),
      destroy: checkpointPolicy,
      accept: checkpointPolicy,
      /** Before a member is removed. */
      replace: checkpointPolicy,
      /** After a step failed for good, when only going on is left. */
      retry: checkpointPolicy,
      /** Before old revisions are thrown away to make room. */
      compact: checkpointPolicy,
      /** Before the work of a dead run is taken over. */
      adopt: checkpointPolicy,
      /** Before what earlier runs set aside is removed. */
      cleanup: checkpointPolicy,
      /** Before a restored cluster is given up for what was there before the restore. */
      rollback: checkpointPolicy,
      /** Before a drill breaks anything. */
      drill: checkpointPolicy,
    })
    .transform(({ proof, allowedSigners, ...checkpoints }, context) => {
      const wrong = (message: string): never => {
        context.addIssue({ code: 'custom', path: ['allowedSigners'], message })
        return z.NEVER
      }
      switch (proof) {
        case 'none':
          return allowedSigners === undefined
            ? { ...checkpoints, proof }
            : wrong('is of no use without proof: ssh, and names are taken on trust')
        case 'ssh':
          return allowedSigners === undefined
            ? wrong('is missing; proof ssh needs the file of those who may decide')
            : { ...checkpoints, proof, allowedSigners }
      }
    })
    .prefault({}),
  /** Drills break the cluster on purpose. There are none without this mark and its double on every node. */
  drill: z
    .strictObject({
      /** Never for a cluster that anybody needs. */
      allowed: z.boolean().default(false),
      /** `quarterly`, `monthly` (its first Tuesday, 09:00 UTC: people have to consent), an interval, or `never`. */
      schedule: z
        .string()
        .regex(/^(quarterly|monthly|never|\d+[hd])$/, 'quarterly, monthly, never, or an interval like 30d')
        .default('quarterly'),
      runbook: z.enum(DRILL_RUNBOOKS).default('restoreQuorum'),
      /** By default the runbook's first (domain/drill-faults.ts). */
      fault: z.enum(DRILL_FAULT_NAMES).optional(),
      /** What a drill has to stay within to be passed: data lost, and time to the first write without waiting for people. */
      targets: z.strictObject({ rpo: duration.optional(), rto: duration.optional() }).prefault({}),
    })
    .refine(({ runbook, fault }) => fault === undefined || DRILL_FAULTS[fault].runbook === runbook, {
      path: ['fault'],
      message: 'is no fault of this runbook',
    })
    .prefault({}),
  taskQueue: z.string().min(1).default('requorum'),
})

/** What is rarer made may be older. */
export const clusterSchema = writtenSchema.transform((config) => {
  const { freshness, backup, rehearsal } = config
  const twice = rehearsal.every === 'never' ? 0 : 2 * rehearsal.every
  return {
    ...config,
    freshness: {
      ...freshness,
      proved: freshness.proved ?? backup.every + HOUR_MS,
      rehearsed: freshness.rehearsed ?? Math.max(8 * 24 * HOUR_MS, twice),
    },
  }
})

export type ClusterConfig = z.output<typeof clusterSchema>
export type NodeConfig = ClusterConfig['nodes'][number]
export type ApprovalPolicy = ClusterConfig['approval']
export type ProofKind = ApprovalPolicy['proof']

/** The most different people that any checkpoint asks for. */
export function mostPeople({ approval }: ClusterConfig): number {
  const { proof, allowedSigners, ...checkpoints } = { allowedSigners: '', ...approval }
  return Math.max(...Object.values(checkpoints).map(({ people }) => people))
}

export function nodeOf(config: ClusterConfig, name: string): NodeConfig | undefined {
  return config.nodes.find((node) => node.name === name)
}

export function nodeNames(config: ClusterConfig): string[] {
  return config.nodes.map((node) => node.name)
}
