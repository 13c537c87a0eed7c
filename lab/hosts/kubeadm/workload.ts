import { stringify } from 'yaml'
import { atConsole } from '../console.ts'
import type { LabHosts } from '../lab-hosts.ts'
import { imageName } from './images.ts'

const NAMESPACE = 'shop'
/** Where CoreDNS, which plays the shop, answers `OK` over HTTP. */
const PORT = 8080
const CONFIG_MAPS = 40

/** `kubectl` as a person on the first host has it. @throws Error with its words when it fails. */
export async function kubectl(lab: LabHosts, args: readonly string[], input?: string): Promise<string> {
  const script = 'exec kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"'
  const { stdout } = await atConsole(lab, lab.hosts[0]?.name ?? '', script, args, {
    timeoutMs: 300_000,
    ...(input === undefined ? {} : { input }),
  })
  return stdout
}

/** A small shop with customers' data: a Deployment behind a Service, Secrets and ConfigMaps. Returns when it serves. */
export async function openShop(lab: LabHosts): Promise<void> {
  const objects = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      ...named('v1', 'ConfigMap', 'shop'),
      data: { Corefile: `.:1053 {\n  health :${PORT}\n  ready :8181\n  whoami\n}\n` },
    },
    { ...named('v1', 'Secret', 'payments'), stringData: { token: 'a-token-that-only-the-shop-knows' } },
    {
      ...named('v1', 'Service', 'shop'),
      spec: { selector: { app: 'shop' }, ports: [{ port: PORT, targetPort: PORT }] },
    },
    deployment(),
    ...Array.from({ length: CONFIG_MAPS }, (_, index) => ({
      ...named('v1', 'ConfigMap', `customer-${index}`),
      data: { name: `customer ${index}`, notes: 'x'.repeat(500) },
    })),
  ]
  await kubectl(lab, ['apply', '-f', '-'], objects.map((each) => stringify(each)).join('---\n'))
  await kubectl(lab, ['-n', NAMESPACE, 'rollout', 'status', 'deployment/shop', '--timeout=240s'])
}

/** Notes an order: an object that a later question can look for. */
export async function placeOrder(lab: LabHosts, order: string): Promise<void> {
  await kubectl(lab, [
    '-n',
    NAMESPACE,
    'create',
    'configmap',
    order,
    `--from-literal=at=${new Date().toISOString()}`,
  ])
}

/** The names of all that customers have stored: Secrets and ConfigMaps, sorted. */
export async function shopStock(lab: LabHosts): Promise<readonly string[]> {
  const stock = await kubectl(lab, ['-n', NAMESPACE, 'get', 'configmaps,secrets', '-o', 'name'])
  return stock.trim().split('\n').sort()
}

/** Which hosts get an answer from the shop through its Service's address. */
export async function askShop(lab: LabHosts): Promise<readonly string[]> {
  const address = await kubectl(lab, [
    '-n',
    NAMESPACE,
    'get',
    'service',
    'shop',
    '-o',
    'jsonpath={.spec.clusterIP}',
  ])
  const answers = await Promise.all(
    lab.hosts.map(async ({ name }) => {
      const script = 'curl --silent --max-time 5 "http://$1/health"'
      const asked = await atConsole(lab, name, script, [`${address}:${PORT}`], { accept: [0, 7, 28, 52, 56] })
      return asked.stdout === 'OK' ? [name] : []
    }),
  )
  return answers.flat()
}

function named(apiVersion: string, kind: string, name: string) {
  return { apiVersion, kind, metadata: { name, namespace: NAMESPACE } }
}

function deployment() {
  return {
    ...named('apps/v1', 'Deployment', 'shop'),
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'shop' } },
      template: {
        metadata: { labels: { app: 'shop' } },
        spec: {
          terminationGracePeriodSeconds: 0,
          tolerations: [{ key: 'node-role.kubernetes.io/control-plane', operator: 'Exists' }],
          containers: [
            {
              name: 'shop',
              image: imageName('coredns'),
              imagePullPolicy: 'Never',
              args: ['-conf', '/etc/shop/Corefile'],
              readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
              volumeMounts: [{ name: 'shop', mountPath: '/etc/shop' }],
            },
          ],
          volumes: [{ name: 'shop', configMap: { name: 'shop' } }],
        },
      },
    },
  }
}
