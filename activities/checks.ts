import { RequorumError } from '../domain/failures.ts'
import { withoutNodes } from '../domain/fence.ts'
import {
  isCheckName,
  listChecks,
  looksAgain,
  type CheckName,
  type ListedCheck,
} from '../domain/validation/checks.ts'
import { fail, type Finding } from '../domain/validation/finding.ts'
import type { Comparison } from '../domain/validation/object-counts.ts'
import { madeCheck, type MadeCheck } from '../domain/validation/verdict.ts'
import { alarms } from '../systems/etcd/checks/alarms.ts'
import { etcdCertificates } from '../systems/etcd/checks/etcd-certificates.ts'
import { hashes } from '../systems/etcd/checks/hashes.ts'
import { leader } from '../systems/etcd/checks/leader.ts'
import { members } from '../systems/etcd/checks/members.ts'
import { objectCounts } from '../systems/etcd/checks/object-counts.ts'
import { writeProbe } from '../systems/etcd/checks/write-probe.ts'
import { findApiServers } from '../systems/kubernetes/api-servers.ts'
import { apiCertificates } from '../systems/kubernetes/checks/api-certificates.ts'
import { apiServers } from '../systems/kubernetes/checks/api-servers.ts'
import { canary, canaryGone } from '../systems/kubernetes/checks/canary.ts'
import { kubeSystemPods } from '../systems/kubernetes/checks/kube-system-pods.ts'
import { nodesReady } from '../systems/kubernetes/checks/nodes.ts'
import { secrets } from '../systems/kubernetes/checks/secrets.ts'
import { serviceAccountTokens } from '../systems/kubernetes/checks/service-account-tokens.ts'
import type { ControlPlaneNode } from '../systems/node/control-plane-node.ts'
import { checkWithin, type HealthCheck } from '../systems/node/health-check.ts'
import type { Systems } from './systems.ts'
import { watched } from './watched.ts'

/** How each check looks. A check without a look, or a look without a check, doesn't compile. */
const LOOKS: Readonly<Record<CheckName, HealthCheck>> = {
  members,
  leader,
  hashes,
  alarms,
  'write-probe': writeProbe,
  'etcd-certificates': etcdCertificates,
  'api-certificates': apiCertificates,
  'api-servers': apiServers,
  nodes: nodesReady,
  'kube-system-pods': kubeSystemPods,
  'object-counts': objectCounts,
  secrets,
  'service-account-tokens': serviceAccountTokens,
  canary,
}

export interface CheckRequest {
  readonly cluster: string
  readonly name: string
  /** Names what the run makes in the cluster; every attempt has the same. */
  readonly run: string
  readonly limitMs: number
  /** Look at a failure again until the time is over: after a recovery things come up one by one. */
  readonly patient: boolean
  readonly against: Comparison
  /** Nodes that a recovery went on without: they are named where they are missed, and not looked at. */
  readonly without?: readonly string[]
}

export function createCheckActivities(systems: Systems) {
  return {
    /** All checks, with their limits or the reason why they are left out. Looks for API servers on every node. */
    async listChecks(
      cluster: string,
      asked: readonly string[],
      leftOut: readonly string[] = [],
    ): Promise<ListedCheck[]> {
      const { config, nodes } = await clusterAt(cluster, leftOut)
      const { servers, without, unreached } = await watched(() => findApiServers(nodes))
      const seen = { servers: servers.map(({ node }) => node), without, unreached }
      return listChecks(config.validate, asked, seen)
    },

    /** Makes one check. What it can't see is a failed check; only a cancellation is thrown. */
    async runCheck({ cluster, name, patient, ...request }: CheckRequest): Promise<MadeCheck> {
      const { config, nodes } = await clusterAt(cluster, request.without)
      const began = performance.now()
      const made = (found: Finding): MadeCheck =>
        madeCheck(name, found, (performance.now() - began) / 1_000, request.limitMs)
      if (!isCheckName(name)) return made(fail('this worker knows no such check: is it of another release?'))
      return watched(async (watching) =>
        made(
          await checkWithin(
            LOOKS[name],
            { ...request, config, nodes, watching },
            { again: looksAgain(name, patient) },
          ),
        ),
      )
    },

    /**
     * Waits until every API server is ready, within `limits.start`.
     *
     * @param only - those of these nodes; without it those of all.
     * @throws RequorumError `cluster-unhealthy`
     */
    async awaitApiServers(cluster: string, only?: readonly string[]): Promise<string> {
      const { config, nodes: all } = await clusterAt(cluster)
      const nodes = all.filter(({ node }) => only?.includes(node.name) !== false)
      const limitMs = config.limits.start
      const under = { config, nodes, run: '', limitMs, against: { none: 'nothing is compared' } }
      const { verdict, evidence } = await watched((watching) =>
        checkWithin(apiServers, { ...under, watching }, { again: Infinity, pauseMs: 2_000 }),
      )
      if (verdict !== 'fail') return evidence
      // It has waited its whole time: another 20 attempts would keep the controllers down for hours.
      throw new RequorumError('cluster-unhealthy', {
        what: `The API servers of ${cluster} were not ready within ${limitMs / 1_000} s.`,
        why: evidence,
        todo: 'Look at their logs: crictl ps -a --name kube-apiserver, on the node that is named.',
      })
    },

    /** Takes the canary of a run away and waits until it is gone. Finding none is as good. */
    async removeCanary(cluster: string, run: string, limitMs: number): Promise<Finding> {
      const { config, nodes } = await clusterAt(cluster)
      const against = { none: 'nothing is compared' }
      return watched((watching) =>
        checkWithin(canaryGone, { config, nodes, run, limitMs, against, watching }, { again: Infinity }),
      )
    },
  }

  async function clusterAt(cluster: string, without: readonly string[] = []) {
    const config = withoutNodes(await systems.loadCluster(cluster), without)
    const shell = systems.shellFor(config)
    const nodes = config.nodes.map((node): ControlPlaneNode => ({ shell, config, node }))
    return { config, nodes }
  }
}
