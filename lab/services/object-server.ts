import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { partPath } from '../parts/parts.mjs'
import type { KmsAccess } from './kms.ts'
import { readSecretFile, writeSecretFile } from './secret-file.ts'
import type { ServiceSpec } from './service.ts'

export interface AccessKey {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface ObjectServerRequest {
  readonly dir: string
  /** The one address of the S3 port, loopback or the lab's bridge; all other ports are on loopback. */
  readonly listenOn: string
  readonly bucket: string
  /** What goes into its config; undefined when it is only to be found or stopped. */
  readonly access?: {
    readonly admin: AccessKey
    readonly requorum: AccessKey
    /** Signs the sessions of its STS. */
    readonly sessionKey: string
    readonly kms: KmsAccess
  }
}

/** Names of the ports in the order of `ServiceSpec.command`; the first is S3's own. */
const PORTS = ['s3', 's3Grpc', 'master', 'masterGrpc', 'filer', 'filerGrpc'] as const

/** Where the volume server finds its master. */
export interface MasterPorts {
  readonly http: number
  readonly grpc: number
}

export function masterOf(ports: readonly number[]): MasterPorts {
  return { http: ports[PORTS.indexOf('master')] ?? 0, grpc: ports[PORTS.indexOf('masterGrpc')] ?? 0 }
}

/**
 * Master, filer and S3 gateway of SeaweedFS 4.48 as one process; its volume server is another. Access keys and the
 * KMS token are in its 0600 config file, which it reads at its start. It keeps no data key cached,
 * so that a denied KMS is felt by the next request and not an hour later.
 */
export function objectServerSpec(request: ObjectServerRequest): ServiceSpec {
  const { dir, listenOn, access } = request
  const config = join(dir, 's3-config.json')
  const iam = join(dir, 'iam-config.json')
  return {
    name: 'objects',
    dir,
    portCount: PORTS.length,
    listenOn,
    prepare: async () => {
      mkdirSync(join(dir, 'data'), { recursive: true, mode: 0o700 })
      if (access === undefined) return
      await writeSecretFile(config, configText(request.bucket, access))
      await writeSecretFile(iam, JSON.stringify(iamConfig(request.bucket, access.sessionKey), undefined, 2))
    },
    command: (ports) => {
      const at = (name: (typeof PORTS)[number]): string => `${ports[PORTS.indexOf(name)]}`
      return {
        command: partPath('weed'),
        args: [
          ...[
            '-logtostderr=true',
            'server',
            `-dir=${join(dir, 'data')}`,
            '-ip=127.0.0.1',
            '-ip.bind=127.0.0.1',
          ],
          ...[`-master.port=${at('master')}`, `-master.port.grpc=${at('masterGrpc')}`],
          ...['-volume=false', '-filer', `-filer.port=${at('filer')}`, `-filer.port.grpc=${at('filerGrpc')}`],
          ...['-s3', `-s3.ip.bind=${listenOn}`, `-s3.port=${at('s3')}`, `-s3.port.grpc=${at('s3Grpc')}`],
          ...[
            '-s3.port.iceberg=0',
            '-s3.port.lance=0',
            `-s3.config=${config}`,
            `-s3.iam.config=${iam}`,
            '-s3.autoCreateBucket=false',
            '-s3.iam=false',
          ],
          // On by default, to a server on the internet.
          '-master.telemetry=false',
          // Without these it makes 30 GB volumes, and elects itself after 10 s.
          ...['-master.volumeSizeLimitMB=1024', '-master.electionTimeout=1s'],
          // The filer's own HTTP door would let anybody on the machine read and delete.
          '-filer.disableHttp',
        ],
      }
    },
    ready: async ([s3]) => {
      const response = await fetch(`http://${listenOn}:${s3}/healthz`, { signal: AbortSignal.timeout(5_000) })
      await response.arrayBuffer()
      return response.ok
    },
    readyWithinMs: 90_000,
    // After SIGTERM its filer waits for a subscriber that is itself, for 15 s and more.
    endGraceMs: 1_000,
    sweep: (ports) =>
      removeSockets(PORTS.map((name, index) => `${name.replace('Grpc', '-grpc')}-${ports[index]}`)),
  }
}

/** Removes Unix sockets of SeaweedFS: they have fixed names in /tmp and stay when it is killed. */
export async function removeSockets(names: readonly string[]): Promise<void> {
  for (const name of names) await rm(`/tmp/seaweedfs-${name}.sock`, { force: true })
}

/**
 * Whether the server, if it runs, was started with this access. It isn't when the KMS had to take
 * another port in the meantime: the server reads its config only at its start.
 */
export function configIsCurrent(request: ObjectServerRequest): boolean {
  const written = readSecretFile(join(request.dir, 's3-config.json'))
  return request.access !== undefined && written === configText(request.bucket, request.access)
}

function configText(bucket: string, access: NonNullable<ObjectServerRequest['access']>): string {
  return JSON.stringify(s3Config(bucket, access), undefined, 2)
}

function s3Config(bucket: string, access: NonNullable<ObjectServerRequest['access']>): object {
  const { admin, requorum, kms } = access
  return {
    identities: [
      identity('admin', admin, ['Admin', 'Read', 'Write', 'List', 'Tagging']),
      identity(
        'requorum',
        requorum,
        ['Read', 'Write', 'List', 'Tagging'].map((may) => `${may}:${bucket}`),
      ),
    ],
    kms: {
      default_provider: 'openbao',
      providers: {
        openbao: {
          type: 'openbao',
          address: kms.address,
          token: kms.storeToken,
          transit_path: 'transit',
          cache_enabled: false,
          request_timeout: 10,
        },
      },
    },
  }
}

function identity(name: string, key: AccessKey, actions: readonly string[]): object {
  return { name, credentials: [{ accessKey: key.accessKeyId, secretKey: key.secretAccessKey }], actions }
}

/** The role of the lab's store, which its `requorum` may take on. */
export const STORE_ROLE = 'arn:aws:iam::000000000000:role/requorum'

/** Its STS: a session of the role may what the role may and its own policy allows. */
function iamConfig(bucket: string, sessionKey: string): object {
  const arn = `arn:aws:s3:::${bucket}`
  const statement = { Effect: 'Allow', Action: ['s3:*'], Resource: [arn, `${arn}/*`] }
  return {
    sts: { issuer: 'lab', signingKey: sessionKey, tokenDuration: '1h', maxSessionLength: '12h' },
    policy: { defaultEffect: 'Deny', storeType: 'memory' },
    providers: [],
    roles: [
      {
        roleName: 'requorum',
        roleArn: STORE_ROLE,
        trustPolicy: {
          Version: '2012-10-17',
          Statement: [{ Effect: 'Allow', Principal: { AWS: '*' }, Action: ['sts:AssumeRole'] }],
        },
        attachedPolicies: ['all-of-the-bucket'],
      },
    ],
    policies: [{ name: 'all-of-the-bucket', document: { Version: '2012-10-17', Statement: [statement] } }],
  }
}
