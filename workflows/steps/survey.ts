import { isCancellation } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import {
  quorumHolds,
  reachedNodes,
  unaskableNodes,
  unreachedNodes,
  type NodeSurvey,
} from '../../domain/survey.ts'
import { whyOf } from './failure.ts'
import { look } from './hands.ts'
import type { Run } from './run.ts'

/** A look at every node. One that refuses us (host key, login, sudo) stops a recovery: it needs mending first. */
export function survey(run: Run, config: ClusterConfig, title = 'Survey nodes'): Promise<NodeSurvey[]> {
  return run.step(title, () => Promise.all(config.nodes.map(({ name }) => lookAt(config, name))), summarize)
}

/**
 * The same where a node that can't be looked at is no reason to stop: for a backup it is one source less, for a
 * diagnosis a finding.
 */
export function surveyWhatAnswers(
  run: Run,
  config: ClusterConfig,
  title = 'Survey nodes',
  options: { probeApiServer?: boolean } = {},
): Promise<NodeSurvey[]> {
  const tolerant = (node: string): Promise<NodeSurvey> =>
    lookAt(config, node, options).catch((error: unknown) => {
      if (isCancellation(error)) throw error
      return { node, reached: false, reason: whyOf(error) }
    })
  return run.step(title, () => Promise.all(config.nodes.map(({ name }) => tolerant(name))), summarize)
}

function lookAt(
  config: ClusterConfig,
  node: string,
  options: { probeApiServer?: boolean } = {},
): Promise<NodeSurvey> {
  return look.surveyNode({ cluster: config.cluster, node }, options)
}

function summarize(found: readonly NodeSurvey[]): string {
  const lost = unreachedNodes(found).map((node) => node.node)
  const answering = reachedNodes(found).filter((node) => node.member.answers).length
  return [
    `${found.length - lost.length} of ${found.length} nodes reached`,
    `${answering} etcd answering`,
    quorumHolds(found) ? 'quorum holds' : 'no quorum',
    ...(lost.length > 0 ? [`not reached: ${lost.join(', ')}`] : []),
  ].join(', ')
}

/** Restoring over a living quorum would throw away what it holds (law: recoveries never make it worse). */
export function refuseWhileQuorumHolds(config: ClusterConfig, found: readonly NodeSurvey[]): void {
  if (!quorumHolds(found)) return
  throw new RequorumError('quorum-holds', {
    what: `${config.cluster} has its quorum. A restore would throw away what it holds. Nothing was touched.`,
    why: 'a member answered a linearizable read',
    todo: 'If one member is broken, replace that member. If the trouble is elsewhere, look at the API servers.',
  })
}

/** A cluster that only can't be asked, because of expired certificates or a wrong path, is no dead cluster. */
export function refuseUnaskable(config: ClusterConfig, found: readonly NodeSurvey[]): void {
  const unaskable = unaskableNodes(found)
  if (unaskable.length === 0) return
  throw new RequorumError('etcd-unaskable', {
    what: `etcd runs on ${unaskable.map(({ node }) => node).join(', ')} of ${config.cluster} and can't be asked. Nothing was touched.`,
    why: unaskable.map(({ node, reason }) => `${node}: ${reason}`).join('; '),
    todo: 'Check etcd.caCert, etcd.cert and etcd.key in the cluster file, and that the certificates have not expired: kubeadm certs check-expiration',
  })
}

/** A backup in the middle of a recovery would store whatever state the recovery is in. */
export function refuseDuringRecovery(
  config: ClusterConfig,
  found: readonly NodeSurvey[],
  onBehalfOf?: string,
): void {
  const held = reachedNodes(found).find((node) => node.lock !== null && node.lock.owner !== onBehalfOf)
  if (!held?.lock) return
  throw new RequorumError('recovery-running', {
    what: `A recovery of ${config.cluster} holds ${held.node} since ${held.lock.since}.`,
    why: held.lock.owner,
    todo: `Wait for it: requorum status ${config.cluster}. The schedule goes on afterwards.`,
  })
}

export function refuseOtherWorkflowId(
  actual: string,
  expected: string,
  cluster: string,
  command: string,
): void {
  if (actual === expected) return
  throw new RequorumError('wrong-workflow-id', {
    what: `A recovery of ${cluster} runs under the workflow ID ${expected}, not ${actual}. Nothing was done.`,
    why: 'one ID for each cluster is what keeps two recoveries from running at once',
    todo: command,
  })
}
