import { randomBytes } from 'node:crypto'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { readLock } from '../../parts/parts.mjs'
import { atConsole } from '../console.ts'
import { hostPaths, labPaths, type LabHost, type LabHosts } from '../lab-hosts.ts'
import { SERVICE_NETWORK } from './cluster-shape.ts'
import { IMAGES_ON_HOST } from './images.ts'

/** A join waits for a learner to be promoted and for three API servers on a busy machine. */
const KUBEADM_LIMIT_MS = 900_000

/** The checks of kubeadm that look at the machine's kernel and memory, which belong to the host of the hosts. */
const IGNORED_CHECKS = 'SystemVerification,NumCPU,Mem,Swap'

/**
 * Forms a control plane as its people would: `kubeadm init` on the first host, `kubeadm join --control-plane` on
 * the others, everything by kubeadm itself. Afterwards the lab holds what its own clients need of the PKI.
 *
 * @param endpoint - the one address of the API servers, `host:port`, in front of all of them
 */
export async function formControlPlane(
  lab: LabHosts,
  endpoint: string,
  say: (line: string) => void,
): Promise<void> {
  const [first, ...others] = lab.hosts
  if (first === undefined) throw new Error('A lab needs at least one host.')
  await Promise.all(
    lab.hosts.map(({ name }) =>
      atConsole(lab, name, 'ctr -n k8s.io images import --no-unpack "$1" >/dev/null', [IMAGES_ON_HOST], {
        timeoutMs: KUBEADM_LIMIT_MS,
      }),
    ),
  )
  say('Images are on all hosts')

  const secrets = {
    token: `${randomBytes(3).toString('hex')}.${randomBytes(8).toString('hex')}`,
    certificateKey: randomBytes(32).toString('hex'),
  }
  await kubeadm(lab, first, 'init', initConfig(lab, first, endpoint, secrets), ['--upload-certs'])
  say(`kubeadm init is done on ${first.name}`)
  const { stdout } = await atConsole(
    lab,
    first.name,
    `openssl x509 -pubkey -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d ' ' -f 1`,
  )
  for (const host of others) {
    await kubeadm(lab, host, 'join', joinConfig(host, endpoint, secrets, stdout.trim()), [])
    say(`${host.name} joined as control plane`)
  }
  await keepCertificates(lab, first)
  await untilReady(lab, first)
  say('All nodes are Ready')
}

interface Secrets {
  readonly token: string
  readonly certificateKey: string
}

async function kubeadm(
  lab: LabHosts,
  host: LabHost,
  verb: 'init' | 'join',
  config: readonly unknown[],
  flags: readonly string[],
): Promise<void> {
  const script = `
    umask 077
    cat >/root/kubeadm.yaml
    kubeadm "$1" --config /root/kubeadm.yaml --ignore-preflight-errors=${IGNORED_CHECKS} ${flags.join(' ')} 2>&1
    rm /root/kubeadm.yaml`
  await atConsole(lab, host.name, script, [verb], {
    input: config.map((part) => stringify(part)).join('---\n'),
    timeoutMs: KUBEADM_LIMIT_MS,
  })
}

function initConfig(lab: LabHosts, host: LabHost, endpoint: string, secrets: Secrets): readonly unknown[] {
  const { kubernetes, etcd } = readLock()
  return [
    {
      ...kubeadmKind('InitConfiguration'),
      bootstrapTokens: [{ token: secrets.token, ttl: '1h0m0s' }],
      certificateKey: secrets.certificateKey,
      localAPIEndpoint: { advertiseAddress: host.address },
      nodeRegistration: nodeRegistration(host),
      timeouts: PATIENT,
    },
    {
      ...kubeadmKind('ClusterConfiguration'),
      clusterName: lab.name,
      kubernetesVersion: `v${kubernetes.version}`,
      controlPlaneEndpoint: endpoint,
      imageRepository: kubernetes.imageRepository,
      networking: { serviceSubnet: SERVICE_NETWORK },
      etcd: { local: { imageTag: `${etcd.version}-0` } },
    },
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      cgroupDriver: 'cgroupfs',
      failCgroupV1: false,
      failSwapOn: false,
      resolvConf: '/etc/kubernetes/resolv.conf',
    },
    {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      // The table's size is the machine's, not the host's.
      conntrack: { maxPerCore: 0, min: 0 },
    },
  ]
}

function joinConfig(host: LabHost, endpoint: string, secrets: Secrets, caHash: string): readonly unknown[] {
  return [
    {
      ...kubeadmKind('JoinConfiguration'),
      discovery: {
        bootstrapToken: {
          token: secrets.token,
          apiServerEndpoint: endpoint,
          caCertHashes: [`sha256:${caHash}`],
        },
      },
      controlPlane: {
        localAPIEndpoint: { advertiseAddress: host.address },
        certificateKey: secrets.certificateKey,
      },
      nodeRegistration: nodeRegistration(host),
      timeouts: PATIENT,
    },
  ]
}

/** kubeadm's own limits are for a machine per node; three nodes on two busy cores are slower than that. */
const PATIENT = Object.fromEntries(
  [
    'controlPlaneComponentHealthCheck',
    'kubeletHealthCheck',
    'kubernetesAPICall',
    'etcdAPICall',
    'tlsBootstrap',
    'discovery',
  ].map((what) => [what, '10m0s']),
)

function nodeRegistration(host: LabHost) {
  return {
    name: host.name,
    criSocket: 'unix:///run/containerd/containerd.sock',
    imagePullPolicy: 'Never',
    kubeletExtraArgs: [{ name: 'node-ip', value: host.address }],
  }
}

function kubeadmKind(kind: string) {
  return { apiVersion: 'kubeadm.k8s.io/v1beta4', kind }
}

/** What the lab itself asks etcd and the API servers with; runbooks use the files on the nodes. */
async function keepCertificates(lab: LabHosts, host: LabHost): Promise<void> {
  const { pki } = labPaths(lab)
  const onHost = join(hostPaths(lab, host.name).root, 'etc/kubernetes')
  await mkdir(pki, { recursive: true, mode: 0o700 })
  await copyFile(join(onHost, 'pki/etcd/ca.crt'), join(pki, 'ca.crt'))
  await copyFile(join(onHost, 'pki/etcd/healthcheck-client.crt'), join(pki, 'client.crt'))
  await copyFile(join(onHost, 'pki/etcd/healthcheck-client.key'), join(pki, 'client.key'))
  await copyFile(join(onHost, 'admin.conf'), join(lab.dir, 'kubeconfig'))
}

async function untilReady(lab: LabHosts, host: LabHost): Promise<void> {
  const script = `
    export KUBECONFIG=/etc/kubernetes/admin.conf
    kubectl wait --for=condition=Ready node --all --timeout=300s
    kubectl -n kube-system rollout status daemonset/kube-proxy --timeout=300s
    kubectl -n kube-system rollout status deployment/coredns --timeout=300s`
  await atConsole(lab, host.name, script, [], { timeoutMs: KUBEADM_LIMIT_MS })
}
