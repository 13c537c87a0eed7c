import { generateKeyPair } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { run } from './commands.ts'
import { labPaths, type LabHost, type LabHosts } from './lab-hosts.ts'

/** One certificate as kubeadm would have it made (kubernetes cmd/kubeadm/app/phases/certs/certlist.go). */
interface CertificateRequest {
  /** Path without extension, below the host's part of the lab's PKI. */
  readonly path: string
  readonly commonName: string
  readonly organization?: string
  readonly usages: readonly ('serverAuth' | 'clientAuth')[]
  readonly names?: readonly string[]
}

/** kubeadm's defaults: ten years for the authority, one for what it signs. */
const AUTHORITY_DAYS = 3650
const LEAF_DAYS = 365

/**
 * Makes the lab's etcd authority, each host's certificates with kubeadm's names, uses and modes,
 * the service-account key pair, and a client certificate for the lab itself. They lie below
 * `<lab>/pki`, those of a host in `<lab>/pki/<host>` as they have to be under /etc/kubernetes/pki.
 */
export async function makePki(lab: Pick<LabHosts, 'dir' | 'hosts'>): Promise<void> {
  const { pki } = labPaths(lab)
  await mkdir(pki, { recursive: true, mode: 0o700 })
  const authority = join(pki, 'ca')
  const [serviceAccount] = await Promise.all([serviceAccountKeys(), makeAuthority(authority)])
  await Promise.all([
    sign(pki, authority, {
      path: 'client',
      commonName: 'requorum-lab',
      organization: 'system:masters',
      usages: ['clientAuth'],
    }),
    ...lab.hosts.map(async (host) => {
      const home = join(pki, host.name)
      await mkdir(join(home, 'etcd'), { recursive: true, mode: 0o755 })
      await run('cp', ['-p', `${authority}.crt`, `${authority}.key`, join(home, 'etcd')])
      await writeFile(join(home, 'sa.key'), serviceAccount.privateKey, { mode: 0o600 })
      await writeFile(join(home, 'sa.pub'), serviceAccount.publicKey, { mode: 0o600 })
      for (const request of certificatesOf(host)) await sign(home, authority, request)
    }),
  ])
}

function certificatesOf(host: LabHost): readonly CertificateRequest[] {
  const names = [`DNS:${host.name}`, 'DNS:localhost', `IP:${host.address}`, 'IP:127.0.0.1', 'IP:::1']
  return [
    { path: 'etcd/server', commonName: host.name, usages: ['serverAuth', 'clientAuth'], names },
    { path: 'etcd/peer', commonName: host.name, usages: ['serverAuth', 'clientAuth'], names },
    {
      path: 'etcd/healthcheck-client',
      commonName: 'kube-etcd-healthcheck-client',
      organization: 'system:masters',
      usages: ['clientAuth'],
    },
    {
      path: 'apiserver-etcd-client',
      commonName: 'kube-apiserver-etcd-client',
      organization: 'system:masters',
      usages: ['clientAuth'],
    },
  ]
}

async function makeAuthority(path: string): Promise<void> {
  await run('openssl', [
    ...newKeyArguments(`${path}.key`),
    ...['-out', `${path}.crt`, '-days', String(AUTHORITY_DAYS), '-subj', '/CN=etcd-ca'],
    ...['-addext', 'basicConstraints=critical,CA:TRUE'],
    ...['-addext', 'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign'],
    ...['-addext', 'subjectAltName=DNS:etcd-ca'],
  ])
  await setModes(path)
}

async function sign(home: string, authority: string, request: CertificateRequest): Promise<void> {
  const path = join(home, request.path)
  const organization = request.organization === undefined ? '' : `/O=${request.organization}`
  await run('openssl', [
    ...newKeyArguments(`${path}.key`),
    ...['-CA', `${authority}.crt`, '-CAkey', `${authority}.key`],
    ...['-out', `${path}.crt`, '-days', String(LEAF_DAYS)],
    ...['-subj', `${organization}/CN=${request.commonName}`],
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-addext', 'keyUsage=critical,digitalSignature,keyEncipherment'],
    ...['-addext', `extendedKeyUsage=${request.usages.join(',')}`],
    ...(request.names === undefined ? [] : ['-addext', `subjectAltName=${request.names.join(',')}`]),
  ])
  await setModes(path)
}

/** A self-made configuration keeps the machine's openssl.cnf from adding extensions of its own. */
function newKeyArguments(keyPath: string): readonly string[] {
  return [
    'req',
    '-new',
    '-x509',
    // kubeadm's other choice (ClusterConfiguration, encryptionAlgorithm ECDSA-P256): made in a tenth of the time.
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-config',
    OPENSSL_CONFIG,
    '-keyout',
    keyPath,
  ]
}

const OPENSSL_CONFIG = new URL('openssl.cnf', import.meta.url).pathname

/** As kubeadm writes them: certificates 0644, keys 0600. */
async function setModes(path: string): Promise<void> {
  await run('chmod', ['0644', `${path}.crt`])
  await run('chmod', ['0600', `${path}.key`])
}

async function serviceAccountKeys(): Promise<{ readonly privateKey: string; readonly publicKey: string }> {
  return promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
}
