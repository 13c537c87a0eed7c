import type { ClusterConfig } from '../domain/cluster-config.ts'
import { certificatesMissing } from '../domain/joining-certificates.ts'
import { diagnose } from '../domain/diagnosis.ts'
import { RequorumError } from '../domain/failures.ts'
import { refuseUnknownNode, type WhoJoins } from '../domain/leaving-member.ts'
import { replaceCommand, type ReplaceRequest } from '../domain/messages.ts'
import { setAsideOf } from '../domain/plan-step.ts'
import type { ReplaceRecord } from '../domain/recovery-record.ts'
import { planReplacement, replaceDigest, stillInFile, type ReplacePlan } from '../domain/replace-plan.ts'
import { replacePlanMarkdown } from '../domain/replace-text.ts'
import type { NodeSurvey } from '../domain/survey.ts'
import type { ReplaceVerdict } from '../domain/verdict.ts'
import { backupBefore } from './steps/backup-before.ts'
import { approvalOf, checkpoint, type Consent } from './steps/checkpoint.ts'
import { look, transfer } from './steps/hands.ts'
import { withoutBackups } from './steps/held-backups.ts'
import { recoveryIdentity } from './steps/identity.ts'
import { holdingNodes } from './steps/lock.ts'
import { lookPastElections, watchNodes } from './steps/looks.ts'
import { joinAgain, removeOldMember } from './steps/replace.ts'
import { clusterOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'
import { refuseDuringRecovery, survey, surveyWhatAnswers } from './steps/survey.ts'

/**
 * Replaces one broken member while the others hold the quorum; never from a snapshot, since the others hold every
 * acknowledged write.
 *
 * While a person is waited for no node is locked and backups go on: the cluster lives, and the wait may take a day.
 * After the consent the nodes are held and looked at again, and a plan that is not the same any more is asked for anew.
 *
 * Until the member is removed, whatever fails is undone by itself. Removing it is the point of no return: what fails
 * afterwards waits for a person, who has it tried again or leaves it.
 */
export async function replaceMember(request: ReplaceRequest): Promise<ReplaceVerdict> {
  const run = new Run('replaceMember', clusterOf(request))
  return run.through(async () => {
    const { recovery, owner } = recoveryIdentity(run.cluster, replaceCommand(run.cluster))

    const config = await run.step('Read the cluster file', () =>
      look.loadCluster(run.cluster, { consent: true }),
    )
    // Somebody who names the node has looked already; without a name the picture has to be steady.
    const { node, insteadOf } = request
    const looks =
      node === undefined
        ? await watchNodes(run, config)
        : [
            await lookPastElections(
              config,
              insteadOf === undefined ? { node } : { node, insteadOf },
              (title) => surveyWhatAnswers(run, config, title),
            ),
          ]
    const { who, why } = whoJoins(config, looks, request)
    const first = looks.at(-1) ?? []
    refuseDuringRecovery(config, first, owner)
    // Whatever refuses the plan refuses it before anything is done.
    const possible = planReplacement(config, recovery, first, who, { waived: 'not taken yet' })
    await refuseWithoutCertificates(run, config, possible)

    const before = await backupBefore(
      run,
      config,
      recovery,
      owner,
      `Backup of ${config.cluster} before a member is replaced`,
    )
    const planNow = async (title?: string): Promise<Ready> => {
      const found = await lookPastElections(config, who, (again) => survey(run, config, again), title)
      return readyPlan(run, config, planReplacement(config, recovery, found, who, before))
    }

    for (let ready = await planNow(); ;) {
      const { plan } = ready
      const consent = await consentTo(run, config, ready, why)
      const verdict = verdictOf(run, plan)
      if (consent.outcome !== 'approved') return verdict({ outcome: consent.outcome })
      const approvals = [approvalOf('replace', consent)]

      const ended = await holdingNodes(run, config, owner, () =>
        withoutBackups(run, config, recovery, async () => {
          const now = await planNow('Look again before anything is touched')
          if (replaceDigest(now.plan) !== replaceDigest(plan)) return { now }
          const record: ReplaceRecord = {
            version: 1,
            runbook: 'replaceMember',
            cluster: run.cluster,
            recovery,
            owner,
            startedAt: utcNow(),
            plan,
          }
          const removed = await removeOldMember(run, record)
          if (stillInFile(config, plan))
            run.warn([
              `take ${plan.leaves.name} out of the cluster file: it is no member of ${plan.cluster} any more`,
            ])
          const { joined, retries, checks } = await joinAgain(run, config, plan, owner, removed)
          return verdict({
            outcome: joined ? 'replaced' : 'unfinished',
            approvals: [...approvals, ...retries.map(({ consent }) => approvalOf('retry', consent))],
            setAside: setAsideOf(plan.setAside),
            checks,
          })
        }),
      )
      if (!('now' in ended)) return ended
      ready = ended.now
    }
  })
}

/** The node that was named, or the one that a diagnosis finds broken; and for whom it joins. */
function whoJoins(
  config: ClusterConfig,
  looks: readonly (readonly NodeSurvey[])[],
  { node: named, insteadOf }: ReplaceRequest,
): { who: WhoJoins; why: string } {
  const diagnosis = diagnose(config, looks)
  if (named !== undefined) {
    refuseUnknownNode(config, named)
    const found = diagnosis.nodes.includes(insteadOf ?? named)
      ? diagnosis.summary
      : `a person named it (${diagnosis.summary})`
    return { who: { node: named, ...(insteadOf === undefined ? {} : { insteadOf }) }, why: found }
  }
  if (insteadOf !== undefined) {
    throw new RequorumError('input-invalid', {
      what: `Which node joins instead of ${insteadOf} is not said. Nothing was touched.`,
      todo: `requorum replace ${config.cluster} NEW-NODE --instead-of ${insteadOf}`,
    })
  }
  const [broken] = diagnosis.nodes
  if (diagnosis.kind === 'replace-member' && broken !== undefined)
    return { who: { node: broken }, why: diagnosis.summary }
  throw new RequorumError('nothing-to-replace', {
    what: `No member of ${config.cluster} is found to need a replacement. Nothing was touched.`,
    why: diagnosis.summary,
    todo:
      diagnosis.kind === 'healthy'
        ? `To replace a member all the same, name its node: requorum replace ${config.cluster} NODE`
        : `See requorum diagnose ${config.cluster}. To replace a member all the same, name its node: requorum replace ${config.cluster} NODE`,
  })
}

interface Ready {
  readonly plan: ReplacePlan
  /** What the others' hashes said. */
  readonly agreement: string
}

/** What a plan leans on and no survey tells: that the others agree, and that a node made anew has its certificates. */
async function readyPlan(run: Run, config: ClusterConfig, plan: ReplacePlan): Promise<Ready> {
  await refuseWithoutCertificates(run, config, plan)
  return { plan, agreement: await agreementOfOthers(run, config, plan) }
}

function consentTo(
  run: Run,
  config: ClusterConfig,
  { plan, agreement }: Ready,
  why: string,
): Promise<Consent> {
  const shows = replacePlanMarkdown(plan, { why, agreement })
  return checkpoint(run, config, 'replace', replaceDigest(plan), shows)
}

/** Members that differ can't say which of them is right: then nothing may be copied from any of them. */
async function agreementOfOthers(run: Run, config: ClusterConfig, plan: ReplacePlan): Promise<string> {
  const helpers = plan.add.actions.map(({ node }) => node)
  const { equal, evidence } = await run.step(
    'Compare the others',
    () => transfer.compareMembers(config.cluster, helpers),
    (compared) => compared.evidence,
  )
  if (equal) return evidence
  throw new RequorumError('quorum-missing', {
    what: `The other members of ${config.cluster} do not agree on the keyspace. Nothing was touched.`,
    why: evidence,
    todo: 'Find out which of them is right before anything is copied: etcdctl endpoint hashkv on each of them.',
  })
}

/** A member that can't show who it is never joins, and by then the old one would be removed. */
async function refuseWithoutCertificates(run: Run, config: ClusterConfig, plan: ReplacePlan): Promise<void> {
  const [start] = plan.startEtcd.actions
  if (start?.action.kind !== 'start-etcd' || start.action.manifest === undefined) return
  const { manifest } = start.action
  const faults = await run.step(
    `Look for the certificates on ${plan.node}`,
    () => look.certificateFaults({ cluster: plan.cluster, node: plan.node }, manifest),
    (found) => (found.length === 0 ? 'all are there' : found.join('; ')),
  )
  if (faults.length > 0) throw certificatesMissing(config, plan, faults)
}

function verdictOf(run: Run, plan: ReplacePlan) {
  return (end: Partial<ReplaceVerdict> & Pick<ReplaceVerdict, 'outcome'>): ReplaceVerdict => ({
    runbook: 'replaceMember',
    cluster: plan.cluster,
    recovery: plan.recovery,
    node: plan.node,
    removed: plan.leaves.id,
    backup: 'key' in plan.backup ? plan.backup.key : `none: ${plan.backup.waived}`,
    checks: [],
    approvals: [],
    setAside: [],
    ...end,
    steps: run.timings(),
    warnings: run.warnings(),
  })
}
