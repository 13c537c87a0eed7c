import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { partPath } from '../parts/parts.mjs'
import { randomSecret, readSecretFile, writeSecretFile } from './secret-file.ts'
import { findService, portsToBe, startService, stopService, type Say, type ServiceSpec } from './service.ts'

/** The transit keys that the lab has. The store may use the first only. */
export const KMS_KEY = 'requorum-etcd'
/** Exists, and the store's token may not use it: a put with it has to be refused. */
export const FOREIGN_KMS_KEY = 'somebody-elses'

/** How the store reaches its KMS. */
export interface KmsAccess {
  readonly address: string
  /** May encrypt and decrypt with KMS_KEY and do nothing else: no other key, no new keys. */
  readonly storeToken: string
}

/** A running OpenBao, unsealed, with its transit engine as the KMS behind S3. */
export interface Kms extends KmsAccess {
  readonly pid: number
}

interface Seal {
  readonly unsealKey: string
  readonly rootToken: string
}

const STORE_POLICY = 'store'

/**
 * What the store may do. `update` without `create`: transit makes an unknown key on encrypt for a
 * token that has `create` there, and so accepts any key name (OpenBao, transit API, "encrypt data").
 */
const ALLOW_STORE = `
path "transit/encrypt/${KMS_KEY}" { capabilities = ["update"] }
path "transit/decrypt/${KMS_KEY}" { capabilities = ["update"] }
path "transit/keys/${KMS_KEY}" { capabilities = ["read"] }
`
const DENY_STORE = 'path "transit/*" { capabilities = ["deny"] }'

/** Where a KMS will be and what the store will open it with, known before it runs. */
export interface KmsToBe extends KmsAccess {
  readonly ports: readonly number[]
}

/** A promise and no fact: somebody may take the port before the KMS does. */
export async function kmsToBe(dir: string): Promise<KmsToBe> {
  const ports = await portsToBe(kmsSpec(dir))
  const storeToken = readSecretFile(join(dir, 'store-token')) ?? randomSecret(40)
  return { address: addressAt(ports), storeToken, ports }
}

/**
 * Starts OpenBao on loopback with its storage in `dir`, initialises it the first time, and unseals
 * it. The unseal key and root token are kept in `dir`/seal.json, 0600: a lab has nobody to type it.
 */
export async function startKms(dir: string, toBe: KmsToBe, say: Say): Promise<Kms> {
  const spec = { ...kmsSpec(dir), firstPorts: toBe.ports }
  const seal = (await readSeal(dir)) ?? (await freshSeal(dir, spec, say))
  const service = await startService(spec, say)
  const kms = api(addressAt(service.ports))
  await unseal(kms, seal)
  const storeToken =
    readSecretFile(join(dir, 'store-token')) ?? (await equip(dir, kms, seal, toBe.storeToken))
  return { address: kms.address, pid: service.process.pid, storeToken }
}

/** The KMS of `dir` when it runs and is unsealed. */
export async function findKms(dir: string): Promise<Kms | undefined> {
  const service = await findService(kmsSpec(dir))
  const storeToken = readSecretFile(join(dir, 'store-token'))
  if (service === undefined || storeToken === undefined) return undefined
  const address = addressAt(service.ports)
  return (await health(address)) === 200 ? { address, pid: service.process.pid, storeToken } : undefined
}

export async function stopKms(dir: string): Promise<void> {
  await stopService(kmsSpec(dir))
}

/** Takes the store's right to use its key away, or gives it back; in force with the next request. */
export async function setStoreAccess(dir: string, allowed: boolean): Promise<void> {
  const kms = await findKms(dir)
  const seal = await readSeal(dir)
  if (kms === undefined || seal === undefined) {
    throw new Error(
      `The lab's KMS does not run, so its policy can't be changed. Start the store first (${dir}).`,
    )
  }
  await writePolicy(api(kms.address), seal, allowed ? ALLOW_STORE : DENY_STORE)
}

const addressAt = ([http]: readonly number[]): string => `http://127.0.0.1:${http}`

function kmsSpec(dir: string): ServiceSpec {
  const config = join(dir, 'kms-config.json')
  return {
    name: 'kms',
    dir,
    portCount: 2,
    prepare: async ([http, cluster]) => {
      mkdirSync(join(dir, 'data'), { recursive: true, mode: 0o700 })
      // OpenBao 2.7 has no plain file storage any more; raft with one node keeps a single file.
      const settings = {
        ui: false,
        api_addr: `http://127.0.0.1:${http}`,
        cluster_addr: `http://127.0.0.1:${cluster}`,
        default_lease_ttl: '87600h',
        max_lease_ttl: '87600h',
        storage: { raft: { path: join(dir, 'data'), node_id: 'lab', performance_multiplier: '1' } },
        listener: [{ tcp: { address: `127.0.0.1:${http}`, tls_disable: true } }],
      }
      await writeSecretFile(config, JSON.stringify(settings, undefined, 2))
    },
    command: () => ({ command: partPath('bao'), args: ['server', `-config=${config}`] }),
    // The cluster port opens only once it is unsealed, so only the first is looked at.
    portsAtStart: 1,
    // 200 active, 429 standby, 501 not initialised, 503 sealed: it serves, the rest is `unseal`'s.
    ready: async (ports) => [200, 429, 501, 503].includes(await health(addressAt(ports))),
    readyWithinMs: 60_000,
  }
}

async function readSeal(dir: string): Promise<Seal | undefined> {
  const text = readSecretFile(join(dir, 'seal.json'))
  if (text === undefined) return undefined
  const value: unknown = JSON.parse(text)
  if (!hasStrings(value, ['unsealKey', 'rootToken'])) {
    throw new Error(
      `${join(dir, 'seal.json')} is damaged; without it this KMS can't be opened. Take the lab down.`,
    )
  }
  return { unsealKey: value.unsealKey, rootToken: value.rootToken }
}

/**
 * Initialises a new OpenBao. Data without a seal file is what a set-up left that was killed between
 * the two; nothing can have been encrypted with it yet, so it is thrown away. Once the store has its
 * token that is no longer so, and the loss of the seal file is final.
 */
async function freshSeal(dir: string, spec: ServiceSpec, say: Say): Promise<Seal> {
  if (readSecretFile(join(dir, 'store-token')) !== undefined) {
    throw new Error(
      `${join(dir, 'seal.json')} is gone, so this KMS and all that the lab stored can't be opened any more. ` +
        'Take the lab down and up again.',
    )
  }
  await stopKms(dir)
  await rm(join(dir, 'data'), { recursive: true, force: true })
  const service = await startService(spec, say)
  const made = await api(addressAt(service.ports)).call('PUT', 'sys/init', {
    secret_shares: 1,
    secret_threshold: 1,
  })
  const keys = made['keys_base64']
  const seal = {
    unsealKey: Array.isArray(keys) ? String(keys[0]) : '',
    rootToken: String(made['root_token']),
  }
  await writeSecretFile(join(dir, 'seal.json'), JSON.stringify(seal))
  return seal
}

async function unseal(kms: Api, seal: Seal): Promise<void> {
  if ((await health(kms.address)) === 503) await kms.call('PUT', 'sys/unseal', { key: seal.unsealKey })
  const deadline = Date.now() + 60_000
  while ((await health(kms.address)) !== 200) {
    if (Date.now() > deadline)
      throw new Error(`OpenBao at ${kms.address} is unsealed but not active after 60 s.`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Makes the keys and the store's token. Each step may be done already by a run that was killed. */
async function equip(dir: string, kms: Api, seal: Seal, token: string): Promise<string> {
  const mounts = await kms.call('GET', 'sys/mounts', undefined, seal.rootToken)
  if (!('transit/' in mounts))
    await kms.call('POST', 'sys/mounts/transit', { type: 'transit' }, seal.rootToken)
  for (const key of [KMS_KEY, FOREIGN_KMS_KEY]) {
    await kms.call('POST', `transit/keys/${key}`, { type: 'aes256-gcm96' }, seal.rootToken)
  }
  await writePolicy(kms, seal, ALLOW_STORE)
  await grant(kms, seal, token)
  await writeSecretFile(join(dir, 'store-token'), token)
  return token
}

async function grant(kms: Api, seal: Seal, token: string): Promise<void> {
  await kms.call(
    'POST',
    'auth/token/create-orphan',
    // Its ID goes in the body: who asks with the root token may choose it.
    { id: token, policies: [STORE_POLICY], no_default_policy: true, display_name: 'store', ttl: '87600h' },
    seal.rootToken,
  )
}

/**
 * Grants the store's token again where it is gone. OpenBao (2.7.2) revokes a token that is used in the few milliseconds
 * between its making and its lease, and the store starts beside it. Nothing may use the token meanwhile.
 */
export async function keepStoreToken(dir: string): Promise<void> {
  const kms = await findKms(dir)
  const seal = await readSeal(dir)
  if (kms === undefined || seal === undefined) return
  const at = api(kms.address)
  const known = await at.call('POST', 'auth/token/lookup', { token: kms.storeToken }, seal.rootToken).then(
    () => true,
    () => false,
  )
  if (!known) await grant(at, seal, kms.storeToken)
}

async function writePolicy(kms: Api, seal: Seal, policy: string): Promise<void> {
  await kms.call('PUT', `sys/policies/acl/${STORE_POLICY}`, { policy }, seal.rootToken)
}

interface Api {
  readonly address: string
  call(method: string, path: string, body?: unknown, token?: string): Promise<Record<string, unknown>>
}

/** OpenBao's HTTP API. Tokens go in a header, never into an argument or the environment. */
function api(address: string): Api {
  return {
    address,
    call: async (method, path, body, token) => {
      const response = await fetch(`${address}/v1/${path}`, {
        method,
        headers: token === undefined ? {} : { 'x-vault-token': token },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(30_000),
      })
      const text = await response.text()
      if (!response.ok)
        throw new Error(`OpenBao refused ${method} ${path}: ${response.status} ${text.trim()}`)
      const value: unknown = text === '' ? {} : JSON.parse(text)
      return typeof value === 'object' && value !== null ? { ...value } : {}
    },
  }
}

async function health(address: string): Promise<number> {
  const response = await fetch(`${address}/v1/sys/health`, { signal: AbortSignal.timeout(5_000) })
  await response.arrayBuffer()
  return response.status
}

function hasStrings<const K extends string>(value: unknown, keys: readonly K[]): value is Record<K, string> {
  if (typeof value !== 'object' || value === null) return false
  const record: Record<string, unknown> = { ...value }
  return keys.every((key) => typeof record[key] === 'string' && record[key] !== '')
}
