import type { Finding } from './finding.ts'

/**
 * The canary: a Deployment and its Service in a namespace of their own, which prove with their short life that
 * controllers, scheduler, kubelets, cluster DNS and Service network work together.
 */
export const CANARY_NAME = 'canary'
/** Says of a namespace that it is a canary's, whatever it is called. */
export const CANARY_LABEL = 'requorum.io/canary'
/** Until when the run that made it is surely over, in seconds since 1970: from then on it is left over. */
export const CANARY_UNTIL = 'requorum.io/until'
/** Where CoreDNS's `health` plugin answers over HTTP. */
export const CANARY_PORT = 8080
const READY_PORT = 8181

/** Also in systems/etcd/kind-counts.sh, which leaves out what lies in such a namespace. */
export const CANARY_PREFIX = 'requorum-canary-'

export function canaryNamespace(run: string): string {
  return `${CANARY_PREFIX}${run}`
}

/** By kubeadm's CoreDNS Deployment: runs as nobody, may bind low ports, may nothing else. */
const SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  // The binary carries cap_net_bind_service: without that capability in its bounds it can't even be started.
  capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] },
}

/** distroless' nonroot, whom CoreDNS's own image runs as; a number, so that runAsNonRoot can be checked. */
const NOBODY = 65_532

/**
 * Everything that the canary is, as one list for `kubectl create`. Its image is CoreDNS's own, which is on the
 * nodes already: with this Corefile it answers /health over HTTP, and nothing has to be pulled.
 */
export function canaryObjects(run: string, image: string, until: number): unknown {
  const namespace = canaryNamespace(run)
  const labels = { [CANARY_LABEL]: run }
  const own = { name: CANARY_NAME, namespace, labels }
  return {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: namespace, labels, annotations: { [CANARY_UNTIL]: String(until) } },
      },
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: own,
        data: { Corefile: `.:1053 {\n  health :${CANARY_PORT}\n  ready :${READY_PORT}\n  whoami\n}\n` },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: own,
        spec: { selector: labels, ports: [{ name: 'http', port: CANARY_PORT, targetPort: CANARY_PORT }] },
      },
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: own,
        spec: {
          replicas: 1,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: podOf(image) },
        },
      },
    ],
  }
}

function podOf(image: string): unknown {
  return {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: NOBODY,
      runAsGroup: NOBODY,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    // A cluster may have none but control-plane nodes. No other taint: those keep pods off nodes that are unwell.
    tolerations: ['control-plane', 'master'].map((role) => ({
      key: `node-role.kubernetes.io/${role}`,
      operator: 'Exists',
      effect: 'NoSchedule',
    })),
    affinity: {
      // Beside CoreDNS first: the image is there. Then off the control plane.
      podAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 100,
            podAffinityTerm: {
              namespaces: ['kube-system'],
              labelSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
              topologyKey: 'kubernetes.io/hostname',
            },
          },
        ],
      },
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 10,
            preference: {
              matchExpressions: [{ key: 'node-role.kubernetes.io/control-plane', operator: 'DoesNotExist' }],
            },
          },
        ],
      },
    },
    containers: [
      {
        name: CANARY_NAME,
        image,
        imagePullPolicy: 'IfNotPresent',
        args: ['-conf', '/etc/coredns/Corefile'],
        ports: [{ containerPort: CANARY_PORT }],
        readinessProbe: { httpGet: { path: '/ready', port: READY_PORT }, periodSeconds: 1 },
        resources: { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '170Mi' } },
        securityContext: SECURITY,
        volumeMounts: [{ name: 'corefile', mountPath: '/etc/coredns', readOnly: true }],
      },
    ],
    volumes: [{ name: 'corefile', configMap: { name: CANARY_NAME } }],
  }
}

/** The cluster's domain out of CoreDNS's Corefile; `cluster.local` where it names none. */
export function clusterDomain(corefile: string): string {
  return /^\s*kubernetes\s+([A-Za-z0-9.-]+)/m.exec(corefile)?.[1] ?? 'cluster.local'
}

/** Canary namespaces whose time is over, from lines of `name until`; one without a time is nobody's any more. */
export function leftOvers(text: string, own: string, now: Date): string[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([name = '', until = '0']) => name !== '' && name !== own && Number(until) * 1_000 < now.getTime(),
    )
    .map(([name = '']) => name)
}

/** One thing that the canary did, and how long after its beginning. */
export interface CanaryStep {
  readonly did: string
  readonly afterSeconds: number
}

export function canaryText(steps: readonly CanaryStep[]): string {
  return steps.map(({ did, afterSeconds }) => `${did} after ${afterSeconds.toFixed(1)} s`).join(', ')
}

/** The canary passes only when it is gone again. */
export function withRemoval(found: Finding, removed: Finding): Finding {
  if (found.verdict === 'skipped') return found
  const worse =
    removed.verdict === 'pass' ? found.verdict : found.verdict === 'fail' ? 'fail' : removed.verdict
  return { verdict: worse, evidence: `${found.evidence}; ${removed.evidence}` }
}
