import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { exclusively } from '../parts/exclusive.mjs'
import { bucketAnswers, encrypts, prepareBucket, untilReadable, type BucketAdmin } from './bucket.ts'
import {
  findKms,
  FOREIGN_KMS_KEY,
  keepStoreToken,
  KMS_KEY,
  kmsToBe,
  setStoreAccess,
  startKms,
  stopKms,
  type KmsAccess,
} from './kms.ts'
import {
  configIsCurrent,
  masterOf,
  objectServerSpec,
  type AccessKey,
  type MasterPorts,
  type ObjectServerRequest,
  STORE_ROLE,
} from './object-server.ts'
import { randomSecret, readSecretFile, writeSecretFile } from './secret-file.ts'
import {
  findService,
  portsToBe,
  startService,
  stopService,
  type RunningService,
  type Say,
} from './service.ts'
import { masterLeads, volumeServerSpec } from './volume-server.ts'

/** The bucket of the source runbook. */
export const BUCKET = 'lab-etcd-snapshots'

/** What a client needs to use the store, without any secret in it. */
export interface StoreAddress {
  /** Plain HTTP; needs path-style addressing. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** The bucket's default SSE-KMS key. */
  readonly kmsKeyId: string
  /** A key that exists and that the store may not use: a put with it is refused. */
  readonly foreignKmsKeyId: string
  /** AWS shared-credentials file, 0600, with the two profiles below. */
  readonly credentialsFile: string
  /** Reads, writes, lists and deletes in the bucket. */
  readonly profile: string
  /** May do everything; for the lab's own set-up and faults. */
  readonly adminProfile: string
  /** What `requorum` may take on by STS, which answers at the same endpoint. */
  readonly role: string
}

/** A running S3 server with a real KMS behind it. */
export interface Store extends StoreAddress {
  readonly pids: { readonly objects: number; readonly kms: number }
  /** Ends both; everything stored stays. */
  stop(): Promise<void>
  /** Fault: no S3 any more. `startStore` ends it. */
  stopObjects(): Promise<void>
  /** Fault: the KMS is down, S3 answers. `startStore` ends it. */
  stopKms(): Promise<void>
  /** Fault: from the next request on the store may neither encrypt nor decrypt. Survives restarts. */
  denyKms(): Promise<void>
  /** Ends that fault. */
  allowKms(): Promise<void>
}

export interface StoreRequest {
  readonly dir: string
  readonly say: Say
  /** IPv4 address for the S3 port, when hosts of the lab have to reach it; by default the last one, or loopback. */
  readonly listenOn?: string
}

const REGION = 'us-east-1'

/**
 * Starts OpenBao and SeaweedFS in `dir`, or finds them running, with the bucket made, versioned and
 * encrypted by default. Both outlive the caller. Whatever was stored before a stop, or a SIGKILL,
 * can be read again.
 */
export async function startStore(request: StoreRequest): Promise<Store> {
  return exclusively(request.dir, () => startBoth(request))
}

async function startBoth({ dir, say, listenOn: wanted }: StoreRequest): Promise<Store> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const listenOn = wanted ?? readSecretFile(join(dir, 'listen-on')) ?? '127.0.0.1'
  try {
    const keys = (await readKeys(dir)) ?? (await makeKeys(dir))
    const serverWith = (kms: KmsAccess) => ({
      ...{ dir: objectsDir(dir), listenOn, bucket: BUCKET, access: { ...keys, kms } },
    })
    // Both at once: the one reads where the other is only after three seconds, and by then it is there.
    const toBe = await kmsToBe(kmsDir(dir))
    const early = startObjects(serverWith(toBe), say).catch(() => undefined)
    const kms = await startKms(kmsDir(dir), toBe, say).finally(() => early)
    const open = async (): Promise<Store> => {
      const service = await startObjects(serverWith(kms), say)
      const store = storeOf(dir, listenOn, service.ports, { objects: service.process.pid, kms: kms.pid })
      await prepareBucket(adminOf(store, keys.admin), KMS_KEY)
      await untilReadable(adminOf(store, keys.admin))
      return store
    }
    if (!configIsCurrent(serverWith(kms))) await stopObjects(dir)
    await writeSecretFile(join(dir, 'listen-on'), listenOn)
    const store = await open()
    if (await encrypts(adminOf(store, keys.admin), KMS_KEY)) return store
    // It looked before the KMS was there, and looks only once; or the KMS is denied to it, as a fault.
    await stopObjects(dir)
    await keepStoreToken(kmsDir(dir))
    return await open()
  } catch (error) {
    await stopStore(dir)
    throw error
  }
}

/** SeaweedFS, whole: the volume server beside the rest as soon as its master leads. */
async function startObjects(server: ObjectServerRequest, say: Say): Promise<RunningService> {
  const spec = objectServerSpec(server)
  const ports = await portsToBe(spec)
  const started = new AbortController()
  const volumes = async (master: MasterPorts, until?: AbortSignal): Promise<void> => {
    if (await masterLeads(master, until))
      await startService(volumeServerSpec(volumesDir(server.dir), master), say)
  }
  const objects = startService({ ...spec, firstPorts: ports }, say).finally(() => started.abort())
  // Nothing may be on its way any more when this throws.
  await Promise.allSettled([objects, volumes(masterOf(ports), started.signal)])
  const service = await objects
  const known = volumeServerSpec(volumesDir(server.dir), null)
  // Somebody took a port meanwhile, and the volume server waits for a master that is elsewhere.
  if (masterOf(service.ports).http !== masterOf(ports).http) await stopService(known)
  if ((await findService(known)) === undefined) await volumes(masterOf(service.ports))
  return service
}

/** The store of `dir` when all of it runs and the bucket answers; undefined when not. */
export async function findStore(dir: string): Promise<Store | undefined> {
  const listenOn = readSecretFile(join(dir, 'listen-on'))
  const keys = await readKeys(dir)
  const kms = await findKms(kmsDir(dir))
  if (listenOn === undefined || keys === undefined || kms === undefined) return undefined
  const service = await findService(objectServerSpec({ dir: objectsDir(dir), listenOn, bucket: BUCKET }))
  const volumes = await findService(volumeServerSpec(volumesDir(objectsDir(dir)), null))
  if (service === undefined || volumes === undefined) return undefined
  const store = storeOf(dir, listenOn, service.ports, { objects: service.process.pid, kms: kms.pid })
  return (await bucketAnswers(adminOf(store, keys.admin))) ? store : undefined
}

/** Ends what runs of the store in `dir`. */
export async function stopStore(dir: string): Promise<void> {
  await stopObjects(dir)
  await stopKms(kmsDir(dir))
}

async function stopObjects(dir: string): Promise<void> {
  const listenOn = readSecretFile(join(dir, 'listen-on')) ?? '127.0.0.1'
  await Promise.all([
    stopService(objectServerSpec({ dir: objectsDir(dir), listenOn, bucket: BUCKET })),
    stopService(volumeServerSpec(volumesDir(objectsDir(dir)), null)),
  ])
}

function storeOf(dir: string, listenOn: string, ports: readonly number[], pids: Store['pids']): Store {
  return {
    endpoint: `http://${listenOn}:${ports[0]}`,
    region: REGION,
    bucket: BUCKET,
    kmsKeyId: KMS_KEY,
    foreignKmsKeyId: FOREIGN_KMS_KEY,
    credentialsFile: credentialsFile(dir),
    profile: 'requorum',
    adminProfile: 'admin',
    role: STORE_ROLE,
    pids,
    stop: () => stopStore(dir),
    stopObjects: () => stopObjects(dir),
    stopKms: () => stopKms(kmsDir(dir)),
    denyKms: () => setStoreAccess(kmsDir(dir), false),
    allowKms: () => setStoreAccess(kmsDir(dir), true),
  }
}

function adminOf(store: StoreAddress, admin: AccessKey): BucketAdmin {
  return { endpoint: store.endpoint, region: store.region, bucket: store.bucket, admin }
}

interface StoreKeys {
  readonly sessionKey: string
  readonly admin: AccessKey
  readonly requorum: AccessKey
}

async function makeKeys(dir: string): Promise<StoreKeys> {
  const make = (): AccessKey => ({ accessKeyId: `LAB${randomSecret(17)}`, secretAccessKey: randomSecret(40) })
  const keys = {
    requorum: make(),
    admin: make(),
    sessionKey: Buffer.from(randomSecret(32)).toString('base64'),
  }
  await writeSecretFile(sessionKeyFile(dir), keys.sessionKey)
  const profile = (name: string, key: AccessKey): string =>
    `[${name}]\naws_access_key_id = ${key.accessKeyId}\naws_secret_access_key = ${key.secretAccessKey}\n`
  await writeSecretFile(
    credentialsFile(dir),
    profile('requorum', keys.requorum) + profile('admin', keys.admin),
  )
  return keys
}

async function readKeys(dir: string): Promise<StoreKeys | undefined> {
  const text = readSecretFile(credentialsFile(dir))
  if (text === undefined) return undefined
  const [requorum, admin] = [readProfile(text, 'requorum'), readProfile(text, 'admin')]
  const sessionKey = readSecretFile(sessionKeyFile(dir))
  if (requorum !== undefined && admin !== undefined && sessionKey !== undefined)
    return { requorum, admin, sessionKey }
  throw new Error(
    `${credentialsFile(dir)} lacks the profile "requorum" or "admin". Take the lab down and up again.`,
  )
}

function readProfile(text: string, name: string): AccessKey | undefined {
  const section = text.split(/^(?=\[)/m).find((part) => part.startsWith(`[${name}]`))
  const accessKeyId = /^aws_access_key_id\s*=\s*(\S+)/m.exec(section ?? '')?.[1]
  const secretAccessKey = /^aws_secret_access_key\s*=\s*(\S+)/m.exec(section ?? '')?.[1]
  return accessKeyId === undefined || secretAccessKey === undefined
    ? undefined
    : { accessKeyId, secretAccessKey }
}

const sessionKeyFile = (dir: string): string => join(dir, 'session-key')
const credentialsFile = (dir: string): string => join(dir, 'credentials')
const kmsDir = (dir: string): string => join(dir, 'kms')
const volumesDir = (objects: string): string => join(objects, 'volumes')
const objectsDir = (dir: string): string => join(dir, 'objects')
